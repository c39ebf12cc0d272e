//! Which requests share their keys: routes, methods, names of operations.

use axum::{
    Router,
    extract::{FromRef, Path},
    http::StatusCode,
    routing::{get, post},
};
use idem::{HasEngine, Idem, NoTransactions, idempotent};

use crate::support::{App, call, execution, replayed};

#[idempotent(scope = "global", fingerprint = "none")]
async fn create() -> String {
    execution().to_string()
}

#[idempotent(scope = "global", fingerprint = "none")]
async fn create_in(Path(_org): Path<String>) -> String {
    execution().to_string()
}

fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Idem: FromRef<S>,
{
    Router::new().route("/", post(create))
}

fn routes_by_engine<S>() -> Router<S>
where
    S: HasEngine<NoTransactions> + Clone + Send + Sync + 'static,
{
    Router::new().route("/", post(create))
}

#[tokio::test]
async fn routes_can_be_generic_over_the_state() {
    replayed(&routes::<App>().with_state(App::new()), call("/")).await;
    replayed(&routes::<Idem>().with_state(App::new().idem), call("/")).await;
    replayed(&routes_by_engine::<App>().with_state(App::new()), call("/")).await;
}

#[tokio::test]
async fn two_routes_of_one_handler_are_two_operations() {
    let app = Router::new()
        .nest("/v1/orders", routes())
        .nest("/v2", Router::new().nest("/orders", routes()))
        .route("/orders", post(create))
        .with_state(App::new());
    let mut answers = Vec::new();
    for uri in ["/v1/orders", "/v2/orders", "/orders"] {
        answers.push(replayed(&app, call(uri)).await.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 3);
}

#[tokio::test]
async fn two_paths_of_one_route_are_one_operation_with_two_fingerprints() {
    let nested = Router::new().route("/orders", post(create_in));
    let app = Router::new().nest("/{org}", nested).with_state(App::new());
    replayed(&app, call("/acme/orders")).await;
    let other = call("/emca/orders").send(&app).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn two_methods_of_one_handler_are_two_operations() {
    let app = Router::new().route("/", get(create).post(create)).with_state(App::new());
    let got = replayed(&app, call("/").method("GET")).await;
    let posted = replayed(&app, call("/")).await;
    assert_ne!(got.body, posted.body);
}

#[tokio::test]
async fn two_handlers_of_one_module_are_two_operations() {
    #[idempotent(scope = "global")]
    async fn cancel() -> String {
        execution().to_string()
    }

    let app = Router::new()
        .route("/create", post(create))
        .route("/cancel", post(cancel))
        .with_state(App::new());
    let created = replayed(&app, call("/create")).await;
    assert_ne!(created.body, replayed(&app, call("/cancel")).await.body);
}

#[idempotent(scope = "global", operation = "orders.create", fingerprint = "none")]
async fn old() -> String {
    format!("old {}", execution())
}

#[idempotent(scope = "global", operation = "orders.create", fingerprint = "none")]
async fn new() -> String {
    format!("new {}", execution())
}

#[tokio::test]
async fn handlers_with_one_operation_share_their_keys() {
    let state = App::new();
    let before = Router::new().route("/orders", post(old)).with_state(state.clone());
    let after = Router::new().route("/orders", post(new)).with_state(state);
    let first = replayed(&before, call("/orders")).await;
    let second = call("/orders").send(&after).await;
    assert!(second.is_replay());
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn a_shared_operation_at_another_path_is_a_mismatch() {
    let app =
        Router::new().route("/old", post(old)).route("/new", post(new)).with_state(App::new());
    replayed(&app, call("/old")).await;
    assert_eq!(call("/new").send(&app).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_fallback_needs_a_named_operation() {
    let app = Router::new().fallback(create).with_state(App::new());
    let answer = call("/anywhere").send(&app).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(answer.text().contains("operation-unknown"), "{answer:?}");

    let app = Router::new().fallback(new).with_state(App::new());
    let answer = replayed(&app, call("/anywhere")).await;
    assert!(answer.text().starts_with("new "));
}

#[tokio::test]
async fn handlers_take_layers_and_merge() {
    let layered = Router::new()
        .route("/layered", post(create).layer(axum::extract::DefaultBodyLimit::max(4)))
        .merge(routes());
    let app = Router::new().fallback_service(layered.with_state(App::new()));
    replayed(&app, call("/layered").json("1234")).await;
    let larger = call("/layered").json("12345").send(&app).await;
    assert_eq!(larger.status, StatusCode::PAYLOAD_TOO_LARGE);
    replayed(&app, call("/").json("12345")).await;
}
