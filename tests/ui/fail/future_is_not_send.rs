use std::rc::Rc;

use idem::idempotent;

#[idempotent(scope = "global")]
async fn pay() {
    let total = Rc::new(1);
    std::future::ready(()).await;
    drop(total);
}

fn main() {}
