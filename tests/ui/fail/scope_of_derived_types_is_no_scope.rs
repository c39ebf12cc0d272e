use idem::{Scope, idempotent};

#[derive(Scope)]
struct User(u64);

#[derive(Scope)]
struct Org(u64);

#[derive(Scope)]
struct Id<T>(T);

#[idempotent(scope = "(org, id)")]
async fn pay(org: Org, id: Id<bool>) {}

fn main() {}
