//! Nothing warns in the user's code, whatever the user denies.

#![forbid(unsafe_code)]
#![deny(warnings)]
#![deny(
    future_incompatible,
    let_underscore,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    non_ascii_idents,
    nonstandard_style,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unused,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]

use axum::{
    Extension, Json, Router,
    extract::{FromRef, Path, State},
    routing::post,
};
use idem::{Attempt, Idem, Scope, Tx, idempotent};

/// The state.
#[derive(Clone, Debug, FromRef)]
pub struct AppState {
    idem: Idem,
    mailer: Mailer,
}

/// What sends mails.
#[derive(Clone, Copy, Debug)]
pub struct Mailer;

/// Who asks.
#[derive(Clone, Debug, Scope)]
pub struct User {
    #[scope]
    id: u64,
    name: String,
}

/// What a user belongs to.
#[derive(Clone, Debug, Scope)]
pub enum Owner {
    /// A user.
    User(User),
    /// Nobody.
    Nobody,
}

#[idempotent(scope = "user")]
async fn used_only_in_the_scope(Extension(user): Extension<User>) {}

#[idempotent(scope = "user.id", fingerprint = "(body, owner)")]
async fn used_only_in_the_expressions(
    Extension(user): Extension<User>,
    Extension(owner): Extension<Name>,
    body: String,
) {
}

/// Serializes.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Name(String);

#[idempotent(scope = "global", key = "(user, 1)")]
async fn used_only_in_the_key(Extension(user): Extension<User>) {}

#[idempotent(scope = "global", fallback_key = "(user, 1)")]
async fn used_only_in_the_fallback_key(Extension(user): Extension<User>) {}

#[idempotent(scope = "(user.name.as_str(), id)", fingerprint = "id")]
async fn patterns(
    attempt: Attempt,
    State(_): State<Mailer>,
    Path((mut id, ref name)): Path<(u64, String)>,
    Extension(mut user): Extension<User>,
    Json(_): Json<u64>,
) -> Result<String, ()> {
    id += 1;
    user.name.push('x');
    Ok(format!("{id} {name} {} {}", user.name, attempt.number()))
}

/// Documented.
#[idempotent(scope = "global")]
pub async fn public() -> &'static str {
    "ok"
}

#[allow(missing_docs, reason = "what the author allows is allowed to us")]
#[idempotent(scope = "global")]
pub async fn public_and_undocumented() {}

#[idempotent(scope = "global")]
#[allow(missing_docs, reason = "what the author allows is allowed to us")]
pub async fn public_and_undocumented_below() {}

#[idempotent(scope = "global")]
#[expect(unused_variables, reason = "it is unused")]
async fn expected(body: String) {}

#[idempotent(scope = "camelCase")]
#[allow(non_snake_case, reason = "what the author allows is allowed to us")]
async fn shouting(Path(camelCase): Path<u64>) {}

#[idempotent(scope = "global")]
#[must_use]
async fn must_use() -> &'static str {
    "ok"
}

/// Documented.
#[deprecated = "use another"]
#[idempotent(scope = "global")]
#[axum::debug_handler(state = AppState)]
pub async fn deprecated() {}

/// The state of those that take a transaction.
#[derive(Clone, Debug, FromRef)]
pub struct WithTransactions {
    idem: Idem<sqlx::Postgres>,
}

#[idempotent(scope = "global")]
async fn transaction(mut tx: Tx<sqlx::Postgres>, body: String) -> Result<(), String> {
    let query = sqlx::query(sqlx::AssertSqlSafe(body)).execute(&mut *tx);
    query.await.map(drop).map_err(|error| error.to_string())
}

#[idempotent(scope = "user.id", retries = 3, isolation = "serializable", lock_timeout = "1s")]
async fn repeated(Extension(user): Extension<User>, _: Attempt, tx: Tx<sqlx::Postgres>) {
    drop(tx);
}

/// Documented.
#[idempotent(scope = "global", required = false, commit_on_error = true)]
#[axum::debug_handler(state = WithTransactions)]
pub async fn public_transaction(_: Option<Attempt>, _: Tx<sqlx::Postgres>) -> &'static str {
    "ok"
}

/// Documented.
pub fn routes_with_transactions() -> Router<WithTransactions> {
    Router::new()
        .route("/1", post(transaction))
        .route("/2", post(repeated))
        .route("/3", post(public_transaction))
}

/// Documented.
pub mod module {
    use idem::idempotent;

    #[idempotent(scope = "user")]
    pub(crate) async fn internal(user: String) {}

    #[idempotent(scope = "user")]
    pub(super) async fn parent(user: String) {}

    /// Documented.
    #[idempotent(scope = "user")]
    pub async fn public(user: String) {}
}

mod private {
    use idem::idempotent;

    #[idempotent(scope = "global", operation = "private")]
    pub(super) async fn one() {}

    #[idempotent(scope = "global")]
    pub(super) async fn two() {}
}

/// Documented.
#[allow(deprecated, reason = "it is called to see that it is there")]
pub fn routes() -> Router<AppState> {
    #[idempotent(scope = "user")]
    async fn inside_of_a_function(user: String) {}

    Router::new()
        .route("/1", post(used_only_in_the_scope))
        .route("/2", post(used_only_in_the_expressions))
        .route("/3", post(patterns))
        .route("/4", post(public))
        .route("/5", post(public_and_undocumented))
        .route("/6", post(public_and_undocumented_below))
        .route("/7", post(expected))
        .route("/8", post(shouting))
        .route("/9", post(must_use))
        .route("/10", post(deprecated))
        .route("/11", post(module::internal))
        .route("/12", post(module::parent))
        .route("/13", post(module::public))
        .route("/14", post(private::one))
        .route("/15", post(private::two))
        .route("/16", post(inside_of_a_function))
        .route("/17", post(used_only_in_the_key))
        .route("/18", post(used_only_in_the_fallback_key))
}

fn main() {
    drop(routes());
    drop(routes_with_transactions());
    drop([Owner::User(User { id: 1, name: String::new() }), Owner::Nobody]);
}
