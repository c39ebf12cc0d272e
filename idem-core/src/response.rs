//! Responses: what is stored of them, and what is replayed.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONNECTION, response::Parts};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{
    endpoint::{Defaults, Endpoint, HOP_BY_HOP},
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

/// What a handler's response means for its record, and what its client gets.
pub(crate) enum Captured<B> {
    /// To be recorded and replayed.
    Final(StoredResponse, Response<B>),
    /// A retry executes again.
    NotFinal(Response<B>),
    /// Final, but the body broke off while it was read.
    BrokeOff(StoredResponse),
}

/// Reads the response as far as it is to be kept.
pub(crate) async fn capture<B>(
    response: Response<B>,
    endpoint: &Endpoint,
    defaults: &Defaults,
) -> Captured<B>
where
    B: Body<Data = Bytes> + From<Bytes>,
{
    if !is_final(&response, endpoint, defaults) {
        return Captured::NotFinal(response);
    }
    let max_response = endpoint.max_response.unwrap_or(defaults.max_response);
    let (parts, body) = response.into_parts();
    let mut record = stored(&parts, defaults);
    let fits = |size| usize::try_from(size).is_ok_and(|size| size <= max_response);
    if !body.size_hint().exact().is_some_and(fits) {
        return Captured::Final(record, Response::from_parts(parts, body));
    }
    let Ok(body) = body.collect().await else {
        return Captured::BrokeOff(record);
    };
    let body = body.to_bytes();
    record.body = Some(body.clone());
    Captured::Final(record, Response::from_parts(parts, B::from(body)))
}

/// In a response's extensions: its handler says that it is not final, whatever its status.
#[derive(Clone, Copy, Debug)]
pub struct MarkedNotFinal;

/// Whether an answer is to be recorded. A success of a handler in a transaction always is, unless the
/// handler itself says otherwise: to report it and to roll its writes back would be a lie.
pub(crate) fn is_final<B>(
    response: &Response<B>,
    endpoint: &Endpoint,
    defaults: &Defaults,
) -> bool {
    if response.extensions().get::<MarkedNotFinal>().is_some() {
        return false;
    }
    let status = response.status();
    let keep = endpoint.keep.as_ref().unwrap_or(&defaults.keep);
    keep.is_final(status) || endpoint.transactional && (200..400).contains(&status.as_u16())
}

/// Sets the marker of an answer that was recorded, if there is one and the answer can be replayed.
pub(crate) fn mark_stored<B>(
    response: &mut Response<B>,
    can_be_replayed: bool,
    defaults: &Defaults,
) {
    if let Some(marker) = defaults.stored_header.as_ref().filter(|_| can_be_replayed) {
        mark(response.headers_mut(), marker);
    }
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
fn mark(headers: &mut HeaderMap, marker: &HeaderName) {
    headers.insert(marker, HeaderValue::from_static("true"));
}
