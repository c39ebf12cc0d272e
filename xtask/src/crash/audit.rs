//! Compares what the service has with what its clients were told.

use super::{
    USERS,
    book::Book,
    client::balance,
    intent::{Payment, name},
    violations::{Kind, Violations},
};
use crate::process::Result;

/// Takes the clients' own findings, too.
pub(super) async fn compare(
    http: &reqwest::Client,
    url: &str,
    books: &mut [Book],
) -> Result<Violations> {
    let mut all = Violations::default();
    let expected = balances(books);
    for book in books {
        let request = http.get(format!("{url}/payments")).bearer_auth(name(book.user));
        let payments: Vec<Payment> = request.send().await?.error_for_status()?.json().await?;
        compare_payments(book, &payments);
        let found = balance(http, url, book.user).await?;
        let user = name(book.user);
        let expected = expected[book.user];
        if found.balance != expected {
            let found = found.balance;
            let example = format_args!("{user} has {found} instead of {expected}");
            book.violations.add(Kind::WrongBalance, example);
        }
        if found.total != 0 {
            book.violations.add(Kind::WrongTotal, found.total);
        }
        all.append(std::mem::take(&mut book.violations));
    }
    Ok(all)
}

fn compare_payments(book: &mut Book, payments: &[Payment]) {
    let mut made = vec![Vec::new(); book.intents.len()];
    for payment in payments {
        if let Some(number) = book.number_of(payment) {
            made[number].push(&*payment.id);
        } else {
            let (user, id) = (name(book.user), &payment.id);
            book.violations.add(Kind::NotOrdered, format_args!("{user}, payment {id}"));
        }
    }
    for (number, made) in made.into_iter().enumerate() {
        let intent = &book.intents[number];
        let kind = match (intent.payment(), &made[..]) {
            (_, [_, _, ..]) => Kind::PaidTwice,
            (Some(_), []) => Kind::Lost,
            (Some(told), [made]) if told != *made => Kind::Exchanged,
            (None, [_]) if intent.is_answered() => Kind::PaidThoughRefused,
            _ => continue,
        };
        let told = intent.payment().unwrap_or("no payment");
        let what = format!("told {told}, made {}", made.join(", "));
        book.violate(kind, number, &what);
    }
}

/// What the acknowledged payments make.
fn balances(books: &[Book]) -> [i64; USERS] {
    let mut balances = [0; USERS];
    for book in books {
        for intent in book.intents.iter().filter(|it| it.payment().is_some()) {
            balances[book.user] -= intent.amount.cast_signed();
            balances[intent.to] += intent.amount.cast_signed();
        }
    }
    balances
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(id: &str, order: &serde_json::Value) -> Payment {
        let mut payment = order.clone();
        payment["id"] = id.into();
        serde_json::from_value(payment).expect("a payment")
    }

    /// A book with a payment that was acknowledged as `told`, and its order.
    fn book(told: &str) -> (Book, serde_json::Value) {
        let mut book = Book::of(0, false);
        let order = book.intend_to(1, 7);
        book.note(0, &[Some(Book::created(told, &order))]);
        (book, order)
    }

    fn found(book: &mut Book, payments: &[Payment]) -> String {
        compare_payments(book, payments);
        book.violations.to_string().lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_was_acknowledged_is_there_once() {
        let (mut book, order) = book("a");
        assert_eq!(found(&mut book, &[payment("a", &order)]), "none");
        assert_eq!(balances(&[book])[..3], [-7, 7, 0]);
    }

    #[test]
    fn each_kind_of_broken_promise_is_found() {
        let (mut twice, order) = book("a");
        let payments = [payment("a", &order), payment("b", &order)];
        assert_eq!(found(&mut twice, &payments), "1 PaidTwice");
        assert_eq!(found(&mut book("a").0, &[]), "1 Lost");
        assert_eq!(found(&mut book("a").0, &[payment("b", &order)]), "1 Exchanged");
        let mut other = order.clone();
        other["to"] = "user-2".into();
        let payments = [payment("a", &order), payment("b", &other)];
        assert_eq!(found(&mut book("a").0, &payments), "1 NotOrdered");
        let mut refused = Book::of(0, false);
        let order = refused.intend_to(USERS, 7);
        refused.note(0, &[Some(Book::refused())]);
        assert_eq!(found(&mut refused, &[payment("a", &order)]), "1 PaidThoughRefused");
    }
}
