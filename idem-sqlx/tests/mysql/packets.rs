//! Answers that are larger than the server lets anybody send.

use bytes::Bytes;
use http::StatusCode;
use idem_core::{Claimed, Ended, Recorded, Store, StoredResponse, Written};
use idem_testkit::MariaDbServer;

use crate::{
    common::{TTL, begun, claim, is_won},
    database::Database,
};

const MIB: usize = 1024 * 1024;

fn answer(bytes: usize) -> StoredResponse {
    let body = (0..bytes).map(|it| u8::try_from(it % 251).unwrap()).collect::<Vec<_>>();
    StoredResponse { status: StatusCode::OK, headers: Vec::new(), body: Some(Bytes::from(body)) }
}

/// Each is executed once, whether its answer is kept or not.
async fn assert_kept(database: &Database, bytes: usize, is_kept: bool) {
    let store = database.store().await;
    let answer = answer(bytes);
    let kept =
        if is_kept { answer.clone() } else { StoredResponse { body: None, ..answer.clone() } };
    let first = claim(&format!("leased {bytes}"));
    assert!(is_won(&store.claim(&first).await.unwrap()));
    for _ in 0..2 {
        let written = store.complete(&first.owner, &answer, TTL).await.unwrap();
        assert_eq!(written, Written::Accepted);
    }
    let replay = store.claim(&claim(&format!("leased {bytes}"))).await.unwrap().claimed;
    assert!(replay == Claimed::Completed(kept.clone()), "leased {bytes}");

    for end in ["commit", "reject"] {
        let key = format!("{end} {bytes}");
        let transaction = begun(&store, &key).await;
        let recorded = Recorded { response: &answer, ttl: TTL };
        let ended = match end {
            "commit" => transaction.commit(Some(recorded)).await,
            _ => transaction.reject(recorded).await,
        };
        assert!(matches!(ended.unwrap(), Ended::Done), "{end} {bytes}");
        let replay = store.claim(&claim(&key)).await.unwrap().claimed;
        assert!(replay == Claimed::Completed(kept.clone()), "{end} {bytes}");
    }
}

#[tokio::test]
async fn an_answer_that_the_server_does_not_take_is_done_and_not_kept() {
    let server = MariaDbServer::start_with(&["--max-allowed-packet=2M"]);
    let database = Database::on(&server).await;
    assert_kept(&database, 2 * MIB - 64 * 1024, true).await;
    assert_kept(&database, 2 * MIB - 64 * 1024 + 1, false).await;
    assert_kept(&database, 20 * MIB, false).await;
}

/// More than the protocol has for one packet is kept, too, where the server takes it.
#[tokio::test]
async fn large_answers_are_kept_where_the_server_takes_them() {
    let server = MariaDbServer::start_with(&["--max-allowed-packet=64M"]);
    let database = Database::on(&server).await;
    for bytes in [MIB, 17 * MIB, 40 * MIB] {
        assert_kept(&database, bytes, true).await;
    }
}
