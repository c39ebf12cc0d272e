//! What the options over the arguments may say.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{FromRef, Path, State},
    http::HeaderMap,
    routing::post,
};
use idem::{Attempt, Idem, Scope, idempotent};

#[derive(Clone, FromRef)]
struct AppState {
    idem: Idem,
    tenants: Tenants,
}

type Tenants = Arc<HashMap<u64, String>>;

#[derive(Clone, Scope)]
struct User {
    #[scope]
    id: u64,
    name: Option<String>,
}

impl User {
    fn org(&self) -> Cow<'_, str> {
        Cow::Borrowed("org")
    }
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    lines: Vec<String>,
    amount: u64,
}

const REGION: &str = "eu";

fn tenant_of<'a>(user: &User, tenants: &'a Tenants) -> &'a str {
    tenants.get(&user.id).map_or("none", String::as_str)
}

fn apply<T, R>(function: impl Fn(T) -> R, value: T) -> R {
    function(value)
}

fn double(id: &u64) -> u64 {
    id * 2
}

mod rules {
    pub(crate) static VERSION: u32 = 3;

    pub(crate) fn region() -> &'static str {
        "eu"
    }
}

#[idempotent(scope = "user")]
async fn name(Extension(user): Extension<User>) {}

#[idempotent(scope = user)]
async fn bare_name(Extension(user): Extension<User>) {}

#[idempotent(scope = user.id, fingerprint = (&order.lines[0], order.amount))]
async fn bare_expressions(Extension(user): Extension<User>, Json(order): Json<Order>) {}

#[idempotent(scope = "(user.org(), (user.id, (path.0, &path.1)), REGION, 7_u8)")]
async fn nested_tuples(Path(path): Path<(u64, String)>, Extension(user): Extension<User>) {}

#[idempotent(scope = (user.id, (user.org(),)), fingerprint = (order, (user.id, ())))]
async fn bare_nested_tuples(Extension(user): Extension<User>, Json(order): Json<Order>) {}

#[idempotent(scope = "tenant_of(&user, tenants)", fingerprint = "order.lines.len()")]
async fn function_of_the_user(
    State(tenants): State<Tenants>,
    Extension(user): Extension<User>,
    Json(order): Json<Order>,
) {
    // Nothing is moved by the expressions.
    drop((tenants, user, order));
}

#[idempotent(scope = "(rules::region(), rules::VERSION)", fingerprint = "apply(double, &user.id)")]
async fn paths_and_function_values(Extension(user): Extension<User>) {}

#[idempotent(scope = "format!(\"{}/{name}\", user.id)")]
async fn format_captures(Extension(user): Extension<User>, Path(name): Path<String>) {}

#[idempotent(scope = "match &user.name { Some(name) => name.as_str(), None => \"anonymous\" }")]
async fn match_expression(Extension(user): Extension<User>) {}

#[idempotent(scope = "if user.id == 0 { REGION } else { \"other\" }")]
async fn if_expression(Extension(user): Extension<User>) {}

#[idempotent(scope = "user.name.as_deref().unwrap_or(\"-\")")]
async fn option_of_the_user_resolved(Extension(user): Extension<User>) {}

#[idempotent(scope = "*id")]
async fn dereferenced(Path(id): Path<u64>) {}

#[idempotent(scope = "&id")]
async fn referenced(Path(id): Path<u64>) {}

#[idempotent(scope = "*id as u64 + 1")]
async fn arithmetic(Path(Number(id)): Path<Number>) {}

#[derive(serde::Deserialize)]
struct Number(char);

#[idempotent(scope = "(global)", fingerprint = "((json, &bytes, none))")]
async fn keywords_as_names(
    Path((global, json)): Path<(String, String)>,
    Extension(none): Extension<u8>,
    bytes: String,
) {
}

#[idempotent(scope = (global), fingerprint = (bytes))]
async fn bare_keywords_as_names(Path(global): Path<String>, bytes: String) {}

// `id` is a member here and the name of an argument that no expression can use.
#[idempotent(scope = "user.id", fingerprint = "user.org()")]
async fn members_are_no_names(Extension(user): Extension<User>, id: Attempt, _: Attempt) {
    drop(id);
}

#[idempotent(scope = "headers.get(\"x\").map_or(REGION, |it| it.to_str().unwrap_or(REGION))")]
async fn closures(headers: HeaderMap) {}

#[idempotent(scope = "user", key = "(order.amount, (&order.lines[0], REGION), user.org())")]
async fn key(Extension(user): Extension<User>, Json(order): Json<Order>) {
    // Nothing is moved by the expressions.
    drop((user, order));
}

#[idempotent(scope = user, key = user)]
async fn bare_key(Extension(user): Extension<User>) {}

#[idempotent(scope = "user", fallback_key = "(order.amount, (&order.lines[0], REGION), user.org())")]
async fn fallback_key(Extension(user): Extension<User>, Json(order): Json<Order>) {
    drop((user, order));
}

#[idempotent(scope = user, fallback_key = user)]
async fn bare_fallback_key(Extension(user): Extension<User>) {}

#[idempotent(scope = "global", key = "apply(double, id)")]
async fn key_by_function(Path(id): Path<u64>) {}

#[idempotent(scope = "global", key = "rules::region()")]
async fn key_without_arguments() {}

#[idempotent(scope = "(id, tail, first)")]
async fn patterns(
    Path((id, mut tail)): Path<(u64, String)>,
    Extension([ref first, ..]): Extension<[String; 3]>,
    Extension(ref whole @ User { name: ref inner, .. }): Extension<User>,
) {
    tail.push('x');
    let _ = (id, tail, first, whole, inner);
}

fn main() {
    let _: Router<AppState> = Router::new()
        .route("/1", post(name))
        .route("/2", post(bare_name))
        .route("/3", post(bare_expressions))
        .route("/4", post(nested_tuples))
        .route("/5", post(bare_nested_tuples))
        .route("/6", post(function_of_the_user))
        .route("/7", post(paths_and_function_values))
        .route("/8", post(format_captures))
        .route("/9", post(match_expression))
        .route("/10", post(if_expression))
        .route("/11", post(option_of_the_user_resolved))
        .route("/12", post(dereferenced))
        .route("/13", post(referenced))
        .route("/14", post(arithmetic))
        .route("/15", post(keywords_as_names))
        .route("/16", post(bare_keywords_as_names))
        .route("/17", post(members_are_no_names))
        .route("/18", post(closures))
        .route("/19", post(patterns))
        .route("/20", post(key))
        .route("/21", post(bare_key))
        .route("/22", post(key_by_function))
        .route("/23", post(key_without_arguments))
        .route("/24", post(fallback_key))
        .route("/25", post(bare_fallback_key));
}
