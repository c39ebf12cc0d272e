//! What creating a community does in the database. The SQL is the same on both but for the lock; the
//! connections' types differ.

/// The first of `slug`, `slug-1`, `slug-2`, … that nobody has.
const FREE_SLUG: &str = "WITH RECURSIVE candidates (number, slug) AS ( \
         SELECT 0, CAST($1 AS text) \
         UNION ALL \
         SELECT number + 1, $1 || '-' || (number + 1) FROM candidates \
         WHERE EXISTS (SELECT 1 FROM communities WHERE communities.slug = candidates.slug) \
     ) \
     SELECT slug FROM candidates ORDER BY number DESC LIMIT 1";

const INSERT_COMMUNITY: &str = "INSERT INTO communities (id, name, slug) VALUES ($1, $2, $3)";

const INSERT_OWNER: &str =
    "INSERT INTO memberships (community_id, member, role) VALUES ($1, $2, 'owner')";

const INSERT_SUBSCRIPTION: &str =
    "INSERT INTO subscriptions (community_id, subscriber) VALUES ($1, $2)";

const INSERT_TAG: &str = "INSERT INTO tags (community_id, place, tag) VALUES ($1, $2, $3)";

macro_rules! creation {
    ($module:ident: $Connection:ty, $lock:expr) => {
        pub(crate) mod $module {
            use demo::User;
            use sqlx::Connection as _;
            use uuid::Uuid;

            use crate::{
                community::{Community, NewCommunity},
                slug,
            };

            type Connection = $Connection;

            /// Lets one transaction at a time choose among slugs of one family.
            const LOCK: Option<&str> = $lock;

            /// Without a transaction around it, it may be done by half.
            pub(crate) async fn create(
                connection: &mut Connection,
                owner: &User,
                new: NewCommunity,
            ) -> sqlx::Result<Community> {
                let NewCommunity { name, tags } = new;
                let id = Uuid::new_v4().to_string();
                let slug = free_slug(connection, &slug::of(&name)).await?;
                let insert = sqlx::query(super::INSERT_COMMUNITY).bind(&id).bind(&name).bind(&slug);
                insert.execute(&mut *connection).await?;
                #[cfg(feature = "crash-points")]
                idem_testkit::crash::point("communities::after-first-write");
                for insert in [super::INSERT_OWNER, super::INSERT_SUBSCRIPTION] {
                    sqlx::query(insert).bind(&id).bind(&owner.0).execute(&mut *connection).await?;
                }
                let tags = keep_tags(connection, &id, tags).await?;
                Ok(Community { id, name, slug, tags })
            }

            async fn free_slug(connection: &mut Connection, slug: &str) -> sqlx::Result<String> {
                if let Some(lock) = LOCK {
                    sqlx::query(lock).bind(slug::family(slug)).execute(&mut *connection).await?;
                }
                sqlx::query_scalar(super::FREE_SLUG).bind(slug).fetch_one(connection).await
            }

            /// Nobody's community shall fail because of a tag: each has a savepoint of its own.
            async fn keep_tags(
                connection: &mut Connection,
                id: &str,
                tags: Vec<String>,
            ) -> sqlx::Result<Vec<String>> {
                let mut kept = Vec::new();
                for (place, tag) in (0_i64..).zip(tags) {
                    let mut savepoint = connection.begin().await?;
                    let insert = sqlx::query(super::INSERT_TAG).bind(id).bind(place).bind(&tag);
                    match insert.execute(&mut *savepoint).await {
                        Ok(_) => {
                            savepoint.commit().await?;
                            kept.push(tag);
                        }
                        Err(error) => {
                            savepoint.rollback().await?;
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "a tag was left out");
                        }
                    }
                }
                Ok(kept)
            }
        }
    };
}

// A transaction that writes has the whole file anyway.
creation!(sqlite: sqlx::SqliteConnection, None);
creation!(postgres: sqlx::PgConnection, Some("SELECT pg_advisory_xact_lock(1, hashtext($1))"));
