//! The tables, and what is changed in them together.

use bytes::Bytes;
use http::StatusCode;
use idem_core::{AttemptId, Owner, RECORD_VERSION, StoreError, StoredResponse, Written};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::row::{Row, Stage, Time};

pub(crate) type Digest = [u8; 32];

/// The version of the record format, and the row. The version is read first: who does not know it
/// cannot know how to read the rest.
pub(crate) type Records<'a> = (i16, &'a [u8]);

/// Status, header lines, body.
pub(crate) type Answers<'a> = (u16, &'a [u8], Option<&'a [u8]>);

pub(crate) const RECORDS: TableDefinition<'_, Digest, Records<'static>> =
    TableDefinition::new("records");

pub(crate) const ANSWERS: TableDefinition<'_, Digest, Answers<'static>> =
    TableDefinition::new("answers");

/// What sweeps look into: when a record expires, and which.
pub(crate) const EXPIRY: TableDefinition<'_, (Time, Digest), ()> = TableDefinition::new("expiry");

/// What may be held, because it never expires: the fence of its last claim, and which.
pub(crate) const UNDECIDED: TableDefinition<'_, i64, Digest> = TableDefinition::new("undecided");

/// The last fence. It outlives all records.
pub(crate) const FENCE: TableDefinition<'_, (), i64> = TableDefinition::new("fence");

/// Any error of the database: what failed may have happened.
pub(crate) fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::unavailable(error.into())
}

/// Reads a row, if this build knows its version.
pub(crate) fn row(
    records: &impl ReadableTable<Digest, Records<'static>>,
    digest: &Digest,
) -> Result<Option<Row>, StoreError> {
    let Some(stored) = records.get(digest).map_err(failed)? else { return Ok(None) };
    let (version, row) = stored.value();
    if version != RECORD_VERSION {
        return Err(StoreError::UnknownVersion(version));
    }
    let row = serde_json::from_slice(row);
    row.map(Some).map_err(|_| StoreError::Damaged("a row is not what was written"))
}

/// The answer of a completed record.
pub(crate) fn answer(
    answers: &impl ReadableTable<Digest, Answers<'static>>,
    digest: &Digest,
) -> Result<StoredResponse, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("a completed record has no answer");
    let stored = answers.get(digest).map_err(failed)?.ok_or(DAMAGED)?;
    let (status, headers, body) = stored.value();
    Ok(StoredResponse {
        status: StatusCode::from_u16(status).map_err(|_| DAMAGED)?,
        headers: StoredResponse::parse_header_lines(headers).ok_or(DAMAGED)?,
        body: body.map(Bytes::copy_from_slice),
    })
}

/// All tables in one write transaction. There is one at a time, so what it reads stays true.
pub(crate) struct Tables<'a> {
    pub(crate) records: Table<'a, Digest, Records<'static>>,
    pub(crate) answers: Table<'a, Digest, Answers<'static>>,
    pub(crate) expiry: Table<'a, (Time, Digest), ()>,
    undecided: Table<'a, i64, Digest>,
    fence: Table<'a, (), i64>,
    pub(crate) now: Time,
}

impl<'a> Tables<'a> {
    pub(crate) fn open(
        transaction: &'a WriteTransaction,
        now: Time,
    ) -> Result<Self, redb::TableError> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            answers: transaction.open_table(ANSWERS)?,
            expiry: transaction.open_table(EXPIRY)?,
            undecided: transaction.open_table(UNDECIDED)?,
            fence: transaction.open_table(FENCE)?,
            now,
        })
    }

    pub(crate) fn next_fence(&mut self) -> Result<i64, StoreError> {
        let last = self.fence.get(()).map_err(failed)?.map_or(0, |it| it.value());
        self.fence.insert((), last + 1).map_err(failed)?;
        Ok(last + 1)
    }

    /// Writes a row over the one that was there, and keeps the indexes true.
    pub(crate) fn put(
        &mut self,
        digest: &Digest,
        old: Option<&Row>,
        row: &Row,
        answer: Option<&StoredResponse>,
    ) -> Result<(), StoreError> {
        if let Some(old) = old {
            self.remove(digest, old)?;
        }
        let written = serde_json::to_vec(row).map_err(StoreError::unavailable)?;
        self.records.insert(digest, (RECORD_VERSION, &written[..])).map_err(failed)?;
        match row.expires_at {
            Some(at) => drop(self.expiry.insert((at, *digest), ()).map_err(failed)?),
            None => drop(self.undecided.insert(row.fence, digest).map_err(failed)?),
        }
        if let Some(answer) = answer {
            let lines = answer.header_lines();
            let answer = (answer.status.as_u16(), &lines[..], answer.body.as_deref());
            self.answers.insert(digest, answer).map_err(failed)?;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, digest: &Digest, row: &Row) -> Result<(), StoreError> {
        self.records.remove(digest).map_err(failed)?;
        self.answers.remove(digest).map_err(failed)?;
        match row.expires_at {
            Some(at) => drop(self.expiry.remove((at, *digest)).map_err(failed)?),
            None => drop(self.undecided.remove(row.fence).map_err(failed)?),
        }
        Ok(())
    }

    /// The row of an attempt that is current; `None` for all others, and for versions that we do not
    /// know.
    pub(crate) fn owned(&self, owner: &Owner) -> Result<Option<Row>, StoreError> {
        match row(&self.records, owner.id.digest()) {
            Ok(row) => Ok(row.filter(|row| row.attempt == bytes_of(owner.attempt))),
            Err(StoreError::UnknownVersion(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends what an owner has in flight. What it ended the same way before is accepted as it is.
    pub(crate) fn end(
        &mut self,
        owner: &Owner,
        stage: Stage,
        answer: Option<&StoredResponse>,
        expires_at: Option<Time>,
    ) -> Result<Written, StoreError> {
        let Some(old) = self.owned(owner)? else { return Ok(Written::Stale) };
        if old.stage != Stage::InFlight {
            return Ok(Written::from_hit(old.stage == stage));
        }
        let mut row = Row { stage, expires_at, ..old.clone() };
        if stage == Stage::Held {
            row.lease_until = self.now;
        }
        self.put(owner.id.digest(), Some(&old), &row, answer)?;
        Ok(Written::Accepted)
    }
}

pub(crate) fn bytes_of(attempt: AttemptId) -> [u8; 16] {
    *attempt.as_uuid().as_bytes()
}
