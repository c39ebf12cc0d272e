//! What a handler may know of its own execution.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::record::{Fence, RecordId};

/// One execution of a handler, as the handler sees it. Take it as an argument.
///
/// What it gives away is derived from the whole record id, never the client's raw key: two users
/// who send the same key get different [`key`](Self::key)s.
#[derive(Clone, Debug)]
pub struct Attempt {
    id: RecordId,
    fence: Fence,
    number: u32,
}

impl Attempt {
    pub(crate) const fn new(id: RecordId, fence: Fence, number: u32) -> Self {
        Self { id, fence, number }
    }

    /// Grows with each claim of this record, so that a system which remembers the highest fence it
    /// has seen can refuse a late writer. In a transaction it grows from commit to commit: an
    /// execution that was rolled back may have had the fence of the next one.
    pub const fn fence(&self) -> i64 {
        self.fence.get()
    }

    /// Executions of this request so far, this one included: 1 unless an earlier one failed or was
    /// cut off. One that ran in a transaction and was rolled back leaves nothing to count.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// A UUID that is the same for every attempt at this request, and no other request's: fit for a
    /// unique column. [`RecordId::attempt_key`] computes it where there is no attempt.
    pub fn key(&self) -> String {
        derived(&self.id, None)
    }

    /// A UUID that is the same for every attempt at this request and differs for each `purpose`: fit
    /// as the idempotency key of a call to another system, so that it recognises the repeated call.
    ///
    /// Call it once for each effect: `child_key("charge")`, `child_key("receipt mail")`.
    pub fn child_key(&self, purpose: &str) -> String {
        derived(&self.id, Some(purpose))
    }
}

impl RecordId {
    /// What [`Attempt::key`] gives in every execution of the request with this id: for code that the
    /// attribute does not guard and that fills the same unique column, such as a back-fill, or a
    /// second way in.
    ///
    /// The id must be made of what the endpoint makes it of: its `operation`, which is the method and
    /// the route template unless the attribute names another one; its scope; and the key.
    ///
    /// ```
    /// # use http::HeaderValue;
    /// # use idem_core::{IdempotencyKey, KeyError, KeyFormat, RecordId, ScopeValue};
    /// /// For rows that were made before there was a column for it, from what was sent then.
    /// fn key_of_donation(user: &str, header: &HeaderValue) -> Result<String, KeyError> {
    ///     let key = IdempotencyKey::from_value(header, KeyFormat::Any)?;
    ///     let id = RecordId::sent("POST /donations", &ScopeValue::of(user), &key);
    ///     Ok(id.attempt_key())
    /// }
    ///
    /// let sent = HeaderValue::from_static("order-1");
    /// let of_ann = key_of_donation("ann", &sent).unwrap();
    /// assert_eq!(of_ann, key_of_donation("ann", &sent).unwrap());
    /// assert_ne!(of_ann, key_of_donation("bob", &sent).unwrap());
    /// ```
    pub fn attempt_key(&self) -> String {
        derived(self, None)
    }
}

fn derived(id: &RecordId, purpose: Option<&str>) -> String {
    let mut digest = Sha256::new();
    digest.update(if purpose.is_some() { b"child" } else { b"whole" });
    digest.update(id.digest());
    digest.update(purpose.unwrap_or_default());
    let digest = digest.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::*;
    use crate::{IdempotencyKey, KeyFormat, ScopeValue};

    fn attempt(scope: &str, fence: i64) -> Attempt {
        let name = HeaderName::from_static("k");
        let headers = HeaderMap::from_iter([(name.clone(), "raw-key".parse().expect("a value"))]);
        let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any);
        let key = key.expect("valid").expect("present");
        Attempt::new(RecordId::sent("op", &ScopeValue::of(scope), &key), Fence::new(fence), 1)
    }

    #[test]
    fn keys_are_stable_over_attempts_and_unique_across_users() {
        assert_eq!(attempt("ann", 1).key(), attempt("ann", 2).key());
        assert_eq!(attempt("ann", 1).child_key("p"), attempt("ann", 2).child_key("p"));
        assert_ne!(attempt("ann", 1).key(), attempt("bob", 1).key());
        let ann = attempt("ann", 1);
        assert_ne!(ann.child_key("p"), ann.child_key("q"));
        assert_ne!(ann.child_key(""), ann.key());
        assert!(!ann.key().contains("raw-key"));
    }
}
