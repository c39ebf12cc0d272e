//! The page in the browser: three files, and nothing from anywhere else.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(file("text/html", include_str!("../page/index.html"))))
        .route("/app.js", get(file("text/javascript", include_str!("../page/app.js"))))
        .route("/style.css", get(file("text/css", include_str!("../page/style.css"))))
}

fn file(media_type: &str, text: &'static str) -> impl IntoResponse + Clone + Send + Sync + 'static {
    let headers = [
        (CONTENT_TYPE, format!("{media_type}; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, "default-src 'self'; img-src data:".to_owned()),
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, text)
}
