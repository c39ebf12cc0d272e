//! The engine in the router's state.

use axum_core::extract::FromRef;
use idem_core::Idem;

/// A router state that supplies an engine.
///
/// A router whose state has none does not compile: protection that is silently absent in production
/// is the failure that this crate exists to end.
#[diagnostic::on_unimplemented(
    message = "the router state `{Self}` has no idempotency engine",
    label = "an idempotent handler needs a state that supplies an `Idem`",
    note = "add a field `idem: Idem<…>` to the state and `#[derive(axum::extract::FromRef)]` to it",
    note = "the state cannot be an `Arc<…>`: wrap it in a struct of yours, and implement \
            `FromRef<Yours>` for `Idem<…>`",
    note = "and give the state to the router: `.with_state(state)`"
)]
pub trait HasEngine<D> {
    /// The engine.
    fn engine(&self) -> Idem<D>;
}

#[diagnostic::do_not_recommend]
impl<S, D> HasEngine<D> for S
where
    Idem<D>: FromRef<S>,
{
    fn engine(&self) -> Idem<D> {
        Idem::from_ref(self)
    }
}
