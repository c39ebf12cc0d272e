//! Extraction in two halves: early, before the claim, and late, after it.
//!
//! The state is `Self`, so that a missing impl is reported about the state and the argument.

use std::{future::Future, marker::PhantomData};

use axum_core::{
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use idem_core::Attempt;

/// Marks what axum extracts.
#[derive(Debug)]
pub struct ViaAxum<M = ()>(PhantomData<M>);

/// Marks what comes with the claim.
#[derive(Debug)]
pub struct ViaClaim;

/// The early half of what comes with the claim.
#[derive(Debug)]
pub struct AfterClaim;

/// A state with which every argument but the last can be extracted.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be extracted from a request's head when the state is `{Self}`",
    label = "cannot extract `{T}` here",
    note = "every argument but the last must implement `FromRequestParts<{Self}>`",
    note = "an extractor that reads the body, like `Json`, must be the last argument",
    note = "a `State<T>` needs a field of type `T` in a state with `#[derive(axum::extract::FromRef)]`"
)]
pub trait ExtractsPart<T, M> {
    /// What is known before the claim.
    type Early: Send + 'static;

    /// Extracts before the claim; a rejection leaves nothing behind.
    fn early(&self, head: &mut Parts)
    -> impl Future<Output = Result<Self::Early, Response>> + Send;

    /// What the handler gets.
    fn late(early: Self::Early, attempt: &Option<Attempt>) -> T;

    /// What the attribute's expressions see.
    fn view(early: &Self::Early) -> &T;
}

/// A state with which the last argument can be extracted.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be extracted from a request when the state is `{Self}`",
    label = "cannot extract `{T}`",
    note = "every argument of an idempotent handler must be an axum extractor",
    note = "implement `FromRequestParts<{Self}>` or `FromRequest<{Self}>` for `{T}`",
    note = "a `State<T>` needs a field of type `T` in a state with `#[derive(axum::extract::FromRef)]`"
)]
pub trait ExtractsLast<T, M> {
    /// What is known before the claim.
    type Early: Send + 'static;

    /// Extracts before the claim; a rejection leaves nothing behind.
    fn early(&self, request: Request)
    -> impl Future<Output = Result<Self::Early, Response>> + Send;

    /// What the handler gets.
    fn late(early: Self::Early, attempt: &Option<Attempt>) -> T;

    /// What the attribute's expressions see.
    fn view(early: &Self::Early) -> &T;
}

#[diagnostic::do_not_recommend]
impl<S, T> ExtractsPart<T, ViaAxum> for S
where
    S: Sync,
    T: FromRequestParts<S> + Send + 'static,
{
    type Early = T;

    async fn early(&self, head: &mut Parts) -> Result<T, Response> {
        T::from_request_parts(head, self).await.map_err(IntoResponse::into_response)
    }

    fn late(early: T, _: &Option<Attempt>) -> T {
        early
    }

    fn view(early: &T) -> &T {
        early
    }
}

#[diagnostic::do_not_recommend]
impl<S, T, M> ExtractsLast<T, ViaAxum<M>> for S
where
    S: Sync,
    T: FromRequest<S, M> + Send + 'static,
{
    type Early = T;

    async fn early(&self, request: Request) -> Result<T, Response> {
        T::from_request(request, self).await.map_err(IntoResponse::into_response)
    }

    fn late(early: T, _: &Option<Attempt>) -> T {
        early
    }

    fn view(early: &T) -> &T {
        early
    }
}

/// What comes with the claim: an [`Attempt`], or `Option<Attempt>` where the handler may run without
/// one.
pub trait FromClaim: Sized {
    /// The value, once the claim is won.
    fn from_claim(attempt: Option<Attempt>) -> Self;
}

impl FromClaim for Attempt {
    fn from_claim(attempt: Option<Attempt>) -> Self {
        // The macro refuses `Attempt` with the options that make executions without one possible.
        attempt.expect("an execution without an attempt takes an `Option<Attempt>`")
    }
}

impl FromClaim for Option<Attempt> {
    fn from_claim(attempt: Option<Attempt>) -> Self {
        attempt
    }
}

#[diagnostic::do_not_recommend]
impl<S, T> ExtractsPart<T, ViaClaim> for S
where
    S: Sync,
    T: FromClaim,
{
    type Early = AfterClaim;

    async fn early(&self, _: &mut Parts) -> Result<AfterClaim, Response> {
        Ok(AfterClaim)
    }

    fn late(_: AfterClaim, attempt: &Option<Attempt>) -> T {
        T::from_claim(attempt.clone())
    }

    fn view(_: &AfterClaim) -> &T {
        unreachable!("the macro refuses an `Attempt` in an expression")
    }
}

#[diagnostic::do_not_recommend]
impl<S, T> ExtractsLast<T, ViaClaim> for S
where
    S: Sync,
    T: FromClaim,
{
    type Early = AfterClaim;

    async fn early(&self, _: Request) -> Result<AfterClaim, Response> {
        Ok(AfterClaim)
    }

    fn late(early: AfterClaim, attempt: &Option<Attempt>) -> T {
        <S as ExtractsPart<T, ViaClaim>>::late(early, attempt)
    }

    fn view(early: &AfterClaim) -> &T {
        <S as ExtractsPart<T, ViaClaim>>::view(early)
    }
}

/// Stands where `#[axum::debug_handler]` above the attribute would leave a function behind.
#[derive(Debug)]
pub struct NoDebugHandler;

/// Not what `#[axum::debug_handler]` leaves behind.
#[diagnostic::on_unimplemented(
    message = "`#[axum::debug_handler]` belongs below `#[idempotent]`, where it sees the handler as \
               it was written",
    label = "move `#[axum::debug_handler]` below `#[idempotent]`"
)]
pub trait OnlyBelow {}

impl OnlyBelow for NoDebugHandler {}

/// Checks the order of attributes.
pub const fn only_below<T: OnlyBelow>(_: &T) {}

/// Tells the macro's output whether a type is what comes with the claim: an inherent constant hides
/// the one of the trait.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

/// Every other type.
pub trait NoAttempt {
    /// Whether it is an `Attempt`.
    const IS_ATTEMPT: bool = false;
    /// Whether it is an `Attempt` or an `Option` of one.
    const COMES_WITH_CLAIM: bool = false;
}

impl<T> NoAttempt for Probe<T> {}

impl Probe<Attempt> {
    /// It is.
    pub const IS_ATTEMPT: bool = true;
    /// It is.
    pub const COMES_WITH_CLAIM: bool = true;
}

impl Probe<Option<Attempt>> {
    /// It comes with the claim.
    pub const COMES_WITH_CLAIM: bool = true;
}
