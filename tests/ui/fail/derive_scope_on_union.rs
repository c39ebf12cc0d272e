use idem::Scope;

#[derive(Scope)]
union Id {
    number: u64,
    bytes: [u8; 8],
}

fn main() {}
