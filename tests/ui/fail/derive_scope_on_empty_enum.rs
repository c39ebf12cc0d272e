use idem::Scope;

#[derive(Scope)]
enum Nobody {}

fn main() {}
