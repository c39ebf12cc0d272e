//! Every answer to a completed record is the same status, the same headers, the same bytes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use idem_core::{Claimed, StoredResponse, Written};

use super::subject::{Subject, TTL, claim, id, response, won};

/// Completes a record with the response and reads it back in both ways.
async fn assert_comes_back(s: &Subject, case: &str, response: StoredResponse) {
    let id = id(case);
    let first = claim(&id, "a");
    won(s.claim(&first).await);
    let written = s.store.complete(&first.owner, &response, TTL).await;
    assert_eq!(written.expect("complete"), Written::Accepted);

    let Claimed::Completed(replayed) = s.claim(&claim(&id, "a")).await else {
        panic!("{case}: not replayed");
    };
    let read = s.get(&id).await.and_then(|record| record.response);
    for stored in [replayed, read.expect("a response")] {
        assert_eq!(stored.status, response.status, "{case}");
        assert_eq!(stored.headers, response.headers, "{case}");
        // Not `assert_eq`, which would print a mebibyte.
        assert!(stored.body == response.body, "{case}: another body came back");
    }
}

/// Bodies are bytes, and no body is not an empty one.
pub async fn bodies_come_back_byte_for_byte(s: Subject) {
    let with = |body: Option<Bytes>| StoredResponse { body, ..response("") };
    let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
    assert_comes_back(&s, "none", with(None)).await;
    assert_comes_back(&s, "empty", with(Some(Bytes::new()))).await;
    assert_comes_back(&s, "one NUL", with(Some(Bytes::from_static(&[0])))).await;
    assert_comes_back(&s, "all bytes", with(Some(all_bytes.repeat(3).into()))).await;
    assert_comes_back(&s, "1 MiB", with(Some(all_bytes.repeat(4096).into()))).await;
    assert_comes_back(&s, "1 MiB of NULs", with(Some(vec![0; 1024 * 1024].into()))).await;
}

/// Headers keep their order, their repeats and bytes that are no UTF-8.
pub async fn headers_come_back_in_order_with_repeats(s: Subject) {
    let with = |headers: &[(&'static str, &[u8])]| {
        let header = |(name, value): &(&'static str, &[u8])| {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            (HeaderName::from_static(name), value)
        };
        StoredResponse { headers: headers.iter().map(header).collect(), ..response("") }
    };
    let all_bytes: Vec<u8> =
        (0..=u8::MAX).filter(|byte| HeaderValue::from_bytes(&[*byte]).is_ok()).collect();
    assert_comes_back(&s, "no headers", with(&[])).await;
    assert_comes_back(&s, "all bytes", with(&[("x", &all_bytes)])).await;
    assert_comes_back(&s, "no UTF-8", with(&[("x", b"caf\xe9")])).await;
    assert_comes_back(&s, "blanks and colons", with(&[("x", b""), ("x", b" : a: b, ")])).await;
    let repeats: [(_, &[u8]); 5] =
        [("link", b"1"), ("etag", b"\"e\""), ("link", b"2"), ("a", b""), ("link", b"1")];
    assert_comes_back(&s, "repeats", with(&repeats)).await;
    assert_comes_back(&s, "many", with(&[("x-many", [b'v'; 1_000].as_slice()); 100])).await;
}

/// Any status may have been final for the application.
pub async fn every_status_comes_back(s: Subject) {
    for status in [100, 101, 199, 200, 201, 204, 304, 404, 499, 500, 599, 600, 999] {
        let status = StatusCode::from_u16(status).expect("a status");
        let response = StoredResponse { status, ..response("body") };
        assert_comes_back(&s, status.as_str(), response).await;
    }
}
