//! Args and Handler → [`Spec`]: everything checked. Expansion of a `Spec` cannot fail.

use std::{collections::BTreeSet, time::Duration};

use proc_macro2::Span;
use syn::{Expr, Result, spanned::Spanned};

use crate::{
    args::{Args, OPTIONS},
    errors::Errors,
    expression::{self, Value},
    handler::Handler,
    key::{self, Key},
    value::{self, Given, KeepStep},
};

/// A choice, as the name of its variant.
pub(crate) type Variant = &'static str;

const KEY_FORMATS: [(&str, Variant); 3] = [("any", "Any"), ("uuid", "Uuid"), ("uuid4", "Uuid4")];
const RECOVER: [(&str, Variant); 2] = [("retry", "Retry"), ("hold", "Hold")];
const ISOLATION: [(&str, Variant); 3] = [
    ("read committed", "ReadCommitted"),
    ("repeatable read", "RepeatableRead"),
    ("serializable", "Serializable"),
];
const ON_CONFLICT: [(&str, Variant); 2] = [("reject", "Reject"), ("wait", "Wait")];
const ON_STORE_ERROR: [(&str, Variant); 2] = [("refuse", "Refuse"), ("bypass", "Bypass")];

/// A guarded handler, checked.
pub(crate) struct Spec {
    pub(crate) handler: Handler,
    pub(crate) scope: Scope,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) options: Options,
    /// The arguments that the expressions mention, by position.
    pub(crate) mentioned: BTreeSet<usize>,
}

pub(crate) enum Scope {
    Global,
    Expression(Expr),
}

pub(crate) enum Fingerprint {
    /// Of the body, by a variant of `BodyFingerprint`.
    Body(Variant),
    /// Of a value.
    Expression(Expr),
}

/// What becomes a setter of `Endpoint`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<Duration>,
    pub(crate) failed_ttl: Option<Duration>,
    pub(crate) lease: Option<Duration>,
    pub(crate) operation: Option<String>,
    pub(crate) header: Option<String>,
    pub(crate) required: Option<bool>,
    pub(crate) query: Option<bool>,
    pub(crate) key_format: Option<Variant>,
    pub(crate) recover: Option<Variant>,
    pub(crate) on_store_error: Option<Variant>,
    pub(crate) on_conflict: Option<Variant>,
    pub(crate) wait: Option<Duration>,
    pub(crate) keep: Option<Vec<KeepStep>>,
    pub(crate) max_body: Option<usize>,
    pub(crate) max_response: Option<usize>,
    pub(crate) isolation: Option<Variant>,
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) commit_on_error: Option<bool>,
    pub(crate) retries: Option<u32>,
    /// The options that some handlers cannot have, and why.
    pub(crate) bound: Vec<BoundOption>,
    /// Where an option makes executions possible that have no attempt, and which option that is.
    pub(crate) without_attempt: Option<(&'static str, Span)>,
}

/// An option that is for some kinds of handlers only, which is for the compiler to find out.
pub(crate) struct BoundOption {
    pub(crate) name: &'static str,
    pub(crate) span: Span,
    pub(crate) only: Only,
}

/// Which handlers an option is for.
#[derive(Clone, Copy)]
pub(crate) enum Only {
    /// Those that take no `Tx`, and what to write instead.
    WithoutTx(&'static str),
    /// Those that take a `Tx`.
    WithTx,
    /// Those that take a `Tx` of a database that has such a setting.
    WithSettings,
}

/// What an option is for; `None` for those that every handler can have.
fn bound(name: &str) -> Option<Only> {
    Some(match name {
        "lease" => Only::WithoutTx("its key is taken for as long as its transaction is open"),
        "recover" => Only::WithoutTx("what was cut off is rolled back, and a retry executes"),
        "failed_ttl" => Only::WithoutTx("what failed is rolled back and leaves nothing"),
        "commit_on_error" | "retries" => Only::WithTx,
        "isolation" | "lock_timeout" | "statement_timeout" | "idle_timeout" => Only::WithSettings,
        _ => return None,
    })
}

impl Spec {
    pub(crate) fn check(args: &Args, handler: Option<Handler>, mut errors: Errors) -> Result<Self> {
        let options = Options::check(args, &mut errors);
        key::check_together(args, &mut errors);
        let spec = handler.and_then(|handler| {
            let scope = check_scope(args, &handler, &mut errors);
            let key = Key::check(args, &handler, &mut errors);
            let fingerprint = check_fingerprint(args, &handler, &mut errors);
            let (scope, key, fingerprint) = (scope?, key?, fingerprint?);
            let expressions = [
                if let Scope::Expression(expr) = &scope { Some(expr) } else { None },
                key.expression(),
                if let Fingerprint::Expression(expr) = &fingerprint { Some(expr) } else { None },
            ];
            let mentioned =
                expression::mentioned(expressions.into_iter().flatten(), &handler.arguments);
            Some(Self { handler, scope, key, fingerprint, options, mentioned })
        });
        errors.finish(spec)
    }
}

fn check_scope(args: &Args, handler: &Handler, errors: &mut Errors) -> Option<Scope> {
    if args.lack_scope() {
        errors.at(
            Span::call_site(),
            "`scope` is required: whose key is it? Write `scope = \"user\"` with the argument that \
             authenticates the caller, or `scope = \"global\"` if all callers share their keys",
        );
    }
    let expr = args.get("scope")?;
    Some(match expression::parse("scope", expr, &["global"], handler, errors)? {
        Value::Keyword(_) => Scope::Global,
        Value::Expression(expr) => Scope::Expression(expr),
    })
}

fn check_fingerprint(args: &Args, handler: &Handler, errors: &mut Errors) -> Option<Fingerprint> {
    let Some(expr) = args.get("fingerprint") else {
        return Some(Fingerprint::Body(if derives_key(args) { "None" } else { "Json" }));
    };
    let keywords = ["json", "bytes", "none"];
    Some(match expression::parse("fingerprint", expr, &keywords, handler, errors)? {
        Value::Keyword("json") => Fingerprint::Body("Json"),
        Value::Keyword("bytes") => Fingerprint::Body("Bytes"),
        Value::Keyword(_) => Fingerprint::Body("None"),
        Value::Expression(expr) => Fingerprint::Expression(expr),
    })
}

/// Whether the key says all that counts of a request. Another request for which it is the same can
/// choose no other key, so that a mismatch would be a dead end.
fn derives_key(args: &Args) -> bool {
    args.get("key").is_some()
}

impl Options {
    fn check(args: &Args, errors: &mut Errors) -> Self {
        let mut read = Reader { args, errors };
        let ttl = read.option("ttl", value::ttl);
        let lease = read.option("lease", value::duration);
        let required = read.option("required", value::boolean);
        let on_store_error =
            read.option("on_store_error", |name, expr| value::choice(name, expr, &ON_STORE_ERROR));
        let without_attempt = match (&required, &on_store_error) {
            (Some(Given { value: false, span }), _) => Some(("required = false", *span)),
            (_, Some(Given { value: "Bypass", span })) => {
                Some(("on_store_error = \"bypass\"", *span))
            }
            _ => None,
        };
        let bypass = match &on_store_error {
            Some(Given { value: "Bypass", span }) => Some(BoundOption {
                name: "on_store_error = \"bypass\"",
                span: *span,
                only: Only::WithoutTx("without its store there is no transaction"),
            }),
            _ => None,
        };
        let options = Self {
            failed_ttl: read.plain("failed_ttl", value::duration),
            operation: read.plain("operation", value::name),
            header: read.plain("header", value::header),
            query: read
                .plain("query", value::boolean)
                .or_else(|| derives_key(args).then_some(false)),
            key_format: read
                .plain("key_format", |name, expr| value::choice(name, expr, &KEY_FORMATS)),
            recover: read.plain("recover", |name, expr| value::choice(name, expr, &RECOVER)),
            keep: read.plain("keep", value::keep),
            max_body: read.plain("max_body", value::size),
            max_response: read.plain("max_response", value::size),
            on_conflict: read
                .plain("on_conflict", |name, expr| value::choice(name, expr, &ON_CONFLICT)),
            wait: read.plain("wait", value::duration),
            isolation: read.plain("isolation", |name, expr| value::choice(name, expr, &ISOLATION)),
            lock_timeout: read.plain("lock_timeout", value::duration),
            statement_timeout: read.plain("statement_timeout", value::duration),
            idle_timeout: read.plain("idle_timeout", value::duration),
            commit_on_error: read.plain("commit_on_error", value::boolean),
            retries: read.plain("retries", value::number),
            bound: OPTIONS.into_iter().filter_map(|name| read.bound(name)).chain(bypass).collect(),
            ttl: ttl.as_ref().map(|it| it.value),
            lease: lease.as_ref().map(|it| it.value),
            required: required.map(|it| it.value),
            on_store_error: on_store_error.map(|it| it.value),
            without_attempt,
        };
        if let (Some(wait), None | Some("Reject")) = (args.get("wait"), options.on_conflict)
            && options.wait.is_some()
        {
            errors.at(
                wait.span(),
                "a request that is refused at once does not wait; write `on_conflict = \"wait\"`, or \
                 remove `wait`",
            );
        }
        if let (Some(ttl), Some(lease)) = (ttl, lease)
            && ttl.value < lease.value
        {
            errors.at(
                ttl.span,
                "the ttl is shorter than the lease: an answer would be forgotten before its claim \
                 lapses; lengthen `ttl` or shorten `lease`",
            );
        }
        options
    }
}

struct Reader<'a> {
    args: &'a Args,
    errors: &'a mut Errors,
}

impl Reader<'_> {
    fn option<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str, &Expr) -> Result<Given<T>>,
    ) -> Option<Given<T>> {
        let expr = self.args.get(name)?;
        self.errors.take(read(name, expr))
    }

    fn bound(&self, name: &'static str) -> Option<BoundOption> {
        let value = self.args.get(name)?;
        Some(BoundOption { name, span: value.span(), only: bound(name)? })
    }

    fn plain<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str, &Expr) -> Result<Given<T>>,
    ) -> Option<T> {
        self.option(name, read).map(|it| it.value)
    }
}
