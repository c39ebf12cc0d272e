//! Extraction in two halves: early, before the claim, and late, after it.
//!
//! The state is `Self`, so that a missing impl is reported about the state and the argument.

use std::{future::Future, marker::PhantomData};

use axum::extract::Path;
use axum_core::{
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use idem_core::{Attempt, Granted};

/// Marks what axum extracts.
#[derive(Debug)]
pub struct ViaAxum<M = ()>(PhantomData<M>);

/// Marks what comes with the claim.
#[derive(Debug)]
pub struct ViaClaim;

/// The early half of what comes with the claim.
#[derive(Clone, Copy, Debug)]
pub struct AfterClaim;

/// A state with which every argument but the last can be extracted.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be extracted from a request's head when the state is `{Self}`",
    label = "cannot extract `{T}` here",
    note = "every argument but the last must implement `FromRequestParts<{Self}>`",
    note = "an extractor that reads the body, like `Json`, must be the last argument",
    note = "a `State<T>` needs a field of type `T` in a state with `#[derive(axum::extract::FromRef)]`"
)]
pub trait ExtractsPart<T, D, M> {
    /// What is known before the claim.
    type Early: Send + 'static;

    /// Extracts before the claim; a rejection leaves nothing behind.
    fn early(&self, head: &mut Parts)
    -> impl Future<Output = Result<Self::Early, Response>> + Send;

    /// What the handler gets.
    fn late(early: Self::Early, granted: &mut Granted) -> T;

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
pub trait ExtractsLast<T, D, M> {
    /// What is known before the claim.
    type Early: Send + 'static;

    /// Extracts before the claim; a rejection leaves nothing behind.
    fn early(&self, request: Request)
    -> impl Future<Output = Result<Self::Early, Response>> + Send;

    /// What the handler gets.
    fn late(early: Self::Early, granted: &mut Granted) -> T;

    /// What the attribute's expressions see.
    fn view(early: &Self::Early) -> &T;
}

#[diagnostic::do_not_recommend]
impl<S, T, D> ExtractsPart<T, D, ViaAxum> for S
where
    S: Sync,
    T: FromRequestParts<S> + Send + 'static,
{
    type Early = T;

    async fn early(&self, head: &mut Parts) -> Result<T, Response> {
        T::from_request_parts(head, self).await.map_err(IntoResponse::into_response)
    }

    fn late(early: T, _: &mut Granted) -> T {
        early
    }

    fn view(early: &T) -> &T {
        early
    }
}

#[diagnostic::do_not_recommend]
impl<S, T, D, M> ExtractsLast<T, D, ViaAxum<M>> for S
where
    S: Sync,
    T: FromRequest<S, M> + Send + 'static,
{
    type Early = T;

    async fn early(&self, request: Request) -> Result<T, Response> {
        T::from_request(request, self).await.map_err(IntoResponse::into_response)
    }

    fn late(early: T, _: &mut Granted) -> T {
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
impl<S, T, D> ExtractsPart<T, D, ViaClaim> for S
where
    S: Sync,
    T: FromClaim,
{
    type Early = AfterClaim;

    async fn early(&self, _: &mut Parts) -> Result<AfterClaim, Response> {
        Ok(AfterClaim)
    }

    fn late(_: AfterClaim, granted: &mut Granted) -> T {
        T::from_claim(granted.attempt().cloned())
    }

    fn view(_: &AfterClaim) -> &T {
        unreachable!("the macro refuses an `Attempt` in an expression")
    }
}

#[diagnostic::do_not_recommend]
impl<S, T, D> ExtractsLast<T, D, ViaClaim> for S
where
    S: Sync,
    T: FromClaim,
{
    type Early = AfterClaim;

    async fn early(&self, _: Request) -> Result<AfterClaim, Response> {
        Ok(AfterClaim)
    }

    fn late(early: AfterClaim, granted: &mut Granted) -> T {
        <S as ExtractsPart<T, D, ViaClaim>>::late(early, granted)
    }

    fn view(early: &AfterClaim) -> &T {
        <S as ExtractsPart<T, D, ViaClaim>>::view(early)
    }
}

/// A handler with `retries`. It is `Self` in the bound, because of an argument as `Self` the compiler
/// would say that borrowing it helps.
#[derive(Debug)]
pub struct Retries;

/// Marks what is `Clone`.
#[derive(Debug)]
pub struct ViaClone;

/// Marks a [`Path`], which is not `Clone` though what is in it may be.
#[derive(Debug)]
pub struct ViaPath;

/// What can hand an argument to the handler again.
#[diagnostic::on_unimplemented(
    message = "`{T}` is not `Clone`, and with `retries` the handler may run again",
    label = "`{T}` is not `Clone`",
    note = "derive `Clone` for it, or remove `retries`"
)]
pub trait Repeats<T, M> {
    /// What the handler gets this time.
    fn copy(early: &T) -> T;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Repeats<T, ViaClone> for Retries {
    fn copy(early: &T) -> T {
        early.clone()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Repeats<Path<T>, ViaPath> for Retries {
    fn copy(early: &Path<T>) -> Path<T> {
        Path(early.0.clone())
    }
}

/// Stands where `#[axum::debug_handler]` above the attribute would leave a function behind.
#[derive(Debug)]
pub struct NoDebugHandler;

/// Not what `#[axum::debug_handler]` leaves behind.
#[diagnostic::on_unimplemented(
    message = "`#[axum::debug_handler]` belongs below `#[idempotent]`, which checks in its stead",
    label = "move `#[axum::debug_handler]` below `#[idempotent]`"
)]
pub trait OnlyBelow {}

impl OnlyBelow for NoDebugHandler {}

/// Checks the order of attributes.
pub const fn only_below<T: OnlyBelow>(_: &T) {}

/// Tells the macro's output what a type is: an inherent constant hides the one of the trait.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

/// Every other type.
pub trait NothingSpecial {
    /// Whether it is an `Attempt`.
    const IS_ATTEMPT: bool = false;
    /// Whether it is an `Attempt`, an `Option` of one, or a `Tx`.
    const COMES_WITH_CLAIM: bool = false;
    /// Whether it is a `Tx`.
    const IS_TX: bool = false;
    /// Whether it is an `Option` of a `Tx`.
    const IS_OPTIONAL_TX: bool = false;
    /// Whether it is a `Tx` whose database has isolation levels and timeouts to choose.
    const TAKES_SETTINGS: bool = false;
}

impl<T> NothingSpecial for Probe<T> {}

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
