//! `#[derive(Scope)]`: which values share their keys.

use axum::{Json, Router, routing::post};
use idem::{Scope, idempotent};

use crate::support::{App, call, execution};

#[derive(Scope, serde::Deserialize)]
struct UserId(u64);

#[derive(Scope, serde::Deserialize)]
struct User {
    #[scope]
    id: UserId,
    #[scope]
    org: String,
    #[serde(rename = "name")]
    _name: String,
}

#[derive(Scope, serde::Deserialize)]
struct Pair<A, B>(#[scope] A, #[scope] B);

#[derive(Scope, serde::Deserialize)]
enum Caller {
    User(User),
    Service {
        id: u64,
    },
    Device {
        #[scope]
        id: u64,
        #[serde(rename = "model")]
        _model: String,
    },
    Internal,
    Batch,
}

#[idempotent(scope = "user", fingerprint = "none")]
async fn by_newtype(Json(user): Json<UserId>) -> String {
    execution().to_string()
}

#[idempotent(scope = "user", fingerprint = "none")]
async fn by_marked_fields(Json(user): Json<User>) -> String {
    execution().to_string()
}

#[idempotent(scope = "pair", fingerprint = "none")]
async fn by_pair(Json(pair): Json<Pair<String, Pair<String, u64>>>) -> String {
    execution().to_string()
}

#[idempotent(scope = "caller", fingerprint = "none")]
async fn by_enum(Json(caller): Json<Caller>) -> String {
    execution().to_string()
}

fn app() -> Router {
    Router::new()
        .route("/newtype", post(by_newtype))
        .route("/marked", post(by_marked_fields))
        .route("/pair", post(by_pair))
        .route("/enum", post(by_enum))
        .with_state(App::new())
}

/// Sends all; every one is of a scope of its own.
async fn all_differ(app: &Router, uri: &str, bodies: &[&str]) {
    for body in bodies {
        let answer = call(uri).json(body).send(app).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.is_replay(), "{body}");
    }
}

async fn is_known(app: &Router, uri: &str, body: &str) -> bool {
    call(uri).json(body).send(app).await.is_replay()
}

#[tokio::test]
async fn a_newtype_is_what_it_holds() {
    let app = app();
    all_differ(&app, "/newtype", &["1", "2", "12"]).await;
    assert!(is_known(&app, "/newtype", "12").await);
}

#[tokio::test]
async fn only_marked_fields_count() {
    let app = app();
    let ann = r#"{"id":1,"org":"acme","name":"Ann"}"#;
    let others = [r#"{"id":2,"org":"acme","name":"Ann"}"#, r#"{"id":1,"org":"emca","name":"Ann"}"#];
    all_differ(&app, "/marked", &[ann, others[0], others[1]]).await;
    assert!(is_known(&app, "/marked", r#"{"id":1,"org":"acme","name":"Annabel"}"#).await);
}

#[tokio::test]
async fn fields_never_run_together() {
    let app = app();
    let pairs = [r#"["a",["bc",1]]"#, r#"["ab",["c",1]]"#, r#"["a",["b",1]]"#, r#"["",["abc",1]]"#];
    all_differ(&app, "/pair", &pairs).await;
}

#[tokio::test]
async fn variants_are_scopes_of_their_own() {
    let app = app();
    let user = r#"{"User":{"id":1,"org":"acme","name":"Ann"}}"#;
    let (service, device) = (r#"{"Service":{"id":1}}"#, r#"{"Device":{"id":1,"model":"a"}}"#);
    let callers = [user, service, device, r#""Internal""#, r#""Batch""#];
    all_differ(&app, "/enum", &callers).await;
    for caller in callers {
        assert!(is_known(&app, "/enum", caller).await, "{caller}");
    }
    assert!(is_known(&app, "/enum", r#"{"Device":{"id":1,"model":"b"}}"#).await);
}
