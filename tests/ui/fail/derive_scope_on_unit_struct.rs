use idem::Scope;

#[derive(Scope)]
struct Everybody;

fn main() {}
