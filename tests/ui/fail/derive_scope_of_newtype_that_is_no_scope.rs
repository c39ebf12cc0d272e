use idem::Scope;

#[derive(Scope)]
struct Price(f64);

fn main() {}
