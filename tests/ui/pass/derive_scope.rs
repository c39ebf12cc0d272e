//! What can be a scope by derive.

#![deny(warnings)]

use std::{borrow::Cow, sync::Arc};

use axum::{Extension, Router, routing::post};
use idem::{Idem, Scope, idempotent};

#[derive(Clone, Scope)]
struct UserId(u64);

#[derive(Clone, Scope)]
struct Named {
    name: String,
}

#[derive(Clone, Scope)]
struct User {
    #[scope]
    id: UserId,
    #[scope]
    org: Arc<str>,
    #[allow(dead_code, reason = "no part of the scope")]
    display_name: Option<String>,
}

#[derive(Clone, Scope)]
struct Pair(
    #[scope] u64,
    #[allow(dead_code, reason = "no part of the scope")] f64,
    #[scope] (i8, String),
);

#[derive(Clone, Scope)]
enum Caller {
    User(User),
    Service { r#type: u16 },
    Tenant(#[scope] u64, #[scope] u64, #[allow(dead_code, reason = "no part of the scope")] f64),
    Internal,
    r#Self_,
}

#[derive(Clone, Scope)]
struct Id<T>(T);

#[derive(Clone, Scope)]
struct Bounded<'a, T: Clone, const N: usize>
where
    T: Copy,
{
    #[scope]
    text: Cow<'a, str>,
    #[scope]
    value: T,
    #[allow(dead_code, reason = "no part of the scope")]
    padding: [u8; N],
}

#[derive(Clone, Scope)]
enum Either<A, B> {
    Left(A),
    Right(B),
}

#[idempotent(scope = "(user, pair, caller, id, bounded, either, named)")]
async fn pay(
    Extension(user): Extension<User>,
    Extension(pair): Extension<Pair>,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<Id<u64>>,
    Extension(bounded): Extension<Bounded<'static, u8, 3>>,
    Extension(either): Extension<Either<Id<u8>, Vec8>>,
    Extension(named): Extension<Named>,
) {
}

#[derive(Clone, Scope)]
struct Vec8(u8);

fn main() {
    let _: Router<Idem> = Router::new().route("/1", post(pay));
    let _ = (
        UserId(1),
        Named { name: String::new() },
        Pair(1, 1.0, (1, String::new())),
        Caller::Service { r#type: 1 },
        Caller::Tenant(1, 1, 1.0),
        Caller::Internal,
        Caller::r#Self_,
        Bounded::<u8, 0> { text: "".into(), value: 1, padding: [] },
        Either::<u8, u8>::Left(1),
        Either::<u8, u8>::Right(1),
    );
    let _ = |user: User| Caller::User(user);
}
