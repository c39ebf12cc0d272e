use idem::Scope;

#[derive(Scope)]
#[scope]
struct User(u64);

fn main() {}
