//! The server's default isolation level does not matter.

use idem_core::Store;
use tokio::task::JoinSet;

use crate::{
    common::{claim, is_won},
    database::Database,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_wins_whatever_the_default_isolation_level() {
    let database = Database::fresh().await;
    for default in [
        "ALTER ROLE ALL SET default_transaction_isolation = 'serializable'",
        "ALTER ROLE ALL SET default_transaction_isolation = 'repeatable read'",
    ] {
        let name = database.url.rsplit_once('/').unwrap().1;
        let sql = default.replace("ROLE ALL", &format!("DATABASE {name}"));
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&database.outside).await.unwrap();
        let store = database.store().await;
        for round in 0..30 {
            let mut tasks = JoinSet::new();
            for _ in 0..20 {
                let (store, claim) = (store.clone(), claim(&format!("{default} {round}")));
                tasks.spawn(async move { store.claim(&claim).await.unwrap() });
            }
            let winners = tasks.join_all().await.iter().filter(|it| is_won(it)).count();
            assert_eq!(winners, 1, "{default}");
        }
    }
}
