use idem::idempotent;

#[idempotent(scope = "global")]
#[utoipa::path(post, path = "/payments")]
async fn pay() {}

fn main() {}
