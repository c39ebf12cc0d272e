//! Responses: what is stored of them, and what is replayed.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONNECTION, response::Parts};

use crate::{
    endpoint::{Defaults, HOP_BY_HOP},
    problem::Problem,
    record::StoredResponse,
};

/// The stored response again, marked as such.
pub(crate) fn replay<B: From<Bytes>>(
    stored: StoredResponse,
    defaults: &Defaults,
) -> Result<Response<B>, Problem> {
    let Some(body) = stored.body else {
        return Err(Problem::ResponseNotKept);
    };
    let mut response = Response::new(B::from(body));
    *response.status_mut() = stored.status;
    response.headers_mut().extend(stored.headers);
    mark(response.headers_mut(), &defaults.replayed_header);
    Ok(response)
}

/// Everything of a response but its body.
pub(crate) fn stored(parts: &Parts, defaults: &Defaults) -> StoredResponse {
    let headers = parts
        .headers
        .iter()
        .filter(|(name, _)| is_kept(name, &parts.headers, defaults))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    StoredResponse { status: parts.status, headers, body: None }
}

fn is_kept(name: &HeaderName, of: &HeaderMap, defaults: &Defaults) -> bool {
    let named_by_connection = || {
        let values = of.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let mut names = values.flat_map(|value| value.split(','));
        names.any(|it| it.trim().eq_ignore_ascii_case(name.as_str()))
    };
    !HOP_BY_HOP.contains(name)
        && !defaults.dropped_headers.contains(name)
        && *name != defaults.replayed_header
        && defaults.stored_header.as_ref() != Some(name)
        && !(of.contains_key(CONNECTION) && named_by_connection())
}

/// Sets a marker header.
pub(crate) fn mark(headers: &mut HeaderMap, marker: &HeaderName) {
    headers.insert(marker, HeaderValue::from_static("true"));
}
