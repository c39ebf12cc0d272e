//! Who gives, and what: extractors that refuse in the API's shape.

use axum::{
    extract::{FromRequest, FromRequestParts},
    http::request::Parts,
};
use demo::User;

use crate::error::ApiError;

/// The user who sends the request.
pub(crate) struct Donor(pub(crate) User);

impl<S: Sync> FromRequestParts<S> for Donor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        User::of(parts).map(Self).ok_or(ApiError::Unauthorized)
    }
}

/// A JSON body.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub(crate) struct Body<T>(pub(crate) T);
