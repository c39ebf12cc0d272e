//! From none to sixteen arguments, and what may be among them.

use axum::{
    Extension, Json, Router,
    extract::{FromRequestParts, Path, Query, State, rejection::JsonRejection},
    http::{HeaderMap, Method, StatusCode, request::Parts},
    routing::post,
};
use idem::idempotent;

use crate::support::{App, Mailer, call, execution, replayed, replays};

/// The header `n<N>`.
struct Nth<const N: u8>(String);

impl<S: Sync, const N: u8> FromRequestParts<S> for Nth<N> {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let value = parts.headers.get(format!("n{N}")).ok_or(StatusCode::BAD_REQUEST)?;
        Ok(Self(value.to_str().unwrap().to_owned()))
    }
}

macro_rules! handlers {
    ($($name:ident($($arg:ident $n:literal)*))*) => {
        $(
            #[idempotent(scope = "global")]
            async fn $name($(Nth($arg): Nth<$n>),*) -> String {
                let arguments: Vec<String> = vec![$($arg),*];
                format!("{} {}", execution(), arguments.join(" "))
            }
        )*

        fn routes() -> Router<App> {
            Router::new()$(.route(concat!("/", stringify!($name)), post($name)))*
        }

        /// In the order of their number of arguments.
        const PATHS: [&str; 17] = [$(concat!("/", stringify!($name))),*];
    };
}

handlers! {
    take_0()
    take_1(n0 0)
    take_2(n0 0 n1 1)
    take_3(n0 0 n1 1 n2 2)
    take_4(n0 0 n1 1 n2 2 n3 3)
    take_5(n0 0 n1 1 n2 2 n3 3 n4 4)
    take_6(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5)
    take_7(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6)
    take_8(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7)
    take_9(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8)
    take_10(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8 n9 9)
    take_11(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8 n9 9 n10 10)
    take_12(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8 n9 9 n10 10 n11 11)
    take_13(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8 n9 9 n10 10 n11 11 n12 12)
    take_14(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8 n9 9 n10 10 n11 11 n12 12 n13 13)
    take_15(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8 n9 9 n10 10 n11 11 n12 12 n13 13 n14 14)
    take_16(n0 0 n1 1 n2 2 n3 3 n4 4 n5 5 n6 6 n7 7 n8 8 n9 9 n10 10 n11 11 n12 12 n13 13 n14 14 n15 15)
}

#[tokio::test]
async fn none_to_sixteen_arguments_arrive_in_order() {
    let app = routes().with_state(App::new());
    for (count, uri) in PATHS.into_iter().enumerate() {
        let mut call = call(uri);
        for n in 0..count {
            call = call.header(&format!("n{n}"), &format!("value{n}"));
        }
        let answer = replayed(&app, call).await;
        let expected: Vec<_> = (0..count).map(|n| format!("value{n}")).collect();
        let (_, arguments) = answer.text().split_once(' ').unwrap();
        assert_eq!(arguments, expected.join(" "), "{uri}");
    }
}

#[idempotent(scope = "global")]
async fn fifteen_and_a_body(
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    _: Method,
    method: Method,
    Json(body): Json<u32>,
) -> String {
    format!("{} {method} {body}", execution())
}

#[tokio::test]
async fn the_sixteenth_argument_may_be_the_body() {
    let answer = replays(post(fifteen_and_a_body), call("/").json("7")).await;
    assert!(answer.text().ends_with("POST 7"));
}

#[derive(serde::Deserialize)]
struct Page {
    from: u32,
}

#[idempotent(scope = "org")]
async fn all_kinds(
    method: Method,
    Path((org, id)): Path<(String, u32)>,
    Query(Page { from }): Query<Page>,
    State(Mailer(mailer)): State<Mailer>,
    State(App { mailer: Mailer(whole), .. }): State<App>,
    Extension(extension): Extension<&'static str>,
    headers: HeaderMap,
) -> String {
    let header = headers["x"].to_str().unwrap();
    format!("{} {method} {org} {id} {from} {mailer} {whole} {extension} {header}", execution())
}

#[tokio::test]
async fn every_kind_of_extractor_is_taken() {
    let app = Router::new()
        .route("/{org}/{id}", post(all_kinds))
        .layer(Extension("extension"))
        .with_state(App::new());
    let answer = replayed(&app, call("/acme/7?from=3").header("x", "header")).await;
    assert!(answer.text().ends_with(" POST acme 7 3 smtp smtp extension header"));
}

#[idempotent(scope = "global")]
async fn optional(
    path: Option<Path<u32>>,
    extension: Option<Extension<u8>>,
    body: Option<Json<u32>>,
) -> String {
    let (path, extension, body) =
        (path.map(|it| it.0), extension.map(|it| it.0), body.map(|it| it.0));
    format!("{} {path:?} {extension:?} {body:?}", execution())
}

#[tokio::test]
async fn optional_extractors_are_taken() {
    let answer = replays(post(optional), call("/").json("7")).await;
    assert!(answer.text().ends_with(" None None Some(7)"));
    let answer = replays(post(optional), call("/")).await;
    assert!(answer.text().ends_with(" None None None"));
}

#[idempotent(scope = "global")]
async fn fallible(
    path: Result<Path<u32>, axum::extract::rejection::PathRejection>,
    body: Result<Json<u32>, JsonRejection>,
) -> String {
    let body = match body {
        Ok(Json(body)) => body.to_string(),
        Err(rejection) => rejection.status().to_string(),
    };
    format!("{} {} {body}", execution(), path.is_ok())
}

#[tokio::test]
async fn a_rejection_can_be_an_argument() {
    let answer = replays(post(fallible), call("/").json("7")).await;
    assert!(answer.text().ends_with(" false 7"));
    let answer = replays(post(fallible), call("/").json("7x")).await;
    assert!(answer.text().ends_with(" false 400 Bad Request"));
}

#[idempotent(scope = "(a.0.as_str(), b.0.as_str())")]
async fn of_one_type(a: Nth<0>, (Nth(c), b): (Nth<2>, Nth<1>)) -> String {
    format!("{} {} {} {c}", execution(), a.0, b.0)
}

#[tokio::test]
async fn a_tuple_of_extractors_is_an_argument() {
    let call = call("/").header("n0", "a").header("n1", "b").header("n2", "c");
    assert!(replays(post(of_one_type), call).await.text().ends_with(" a b c"));
}
