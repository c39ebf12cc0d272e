use std::rc::Rc;

use idem::{Tx, idempotent};
use sqlx::Postgres;

#[idempotent(scope = "global")]
async fn pay(tx: Tx<Postgres>) {
    let total = Rc::new(1);
    std::future::ready(()).await;
    drop((total, tx));
}

fn main() {}
