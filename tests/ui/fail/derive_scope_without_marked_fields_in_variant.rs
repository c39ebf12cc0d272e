use idem::Scope;

#[derive(Scope)]
enum Owner {
    User(u64, String),
    Nobody,
}

fn main() {}
