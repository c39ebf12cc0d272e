//! The HTTP API. Creating exists once for each database, because a transaction has the type of its
//! database.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{FromRef, Path, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{MethodRouter, get},
};
use demo::Database;
use idem::Idem;
use uuid::Uuid;

use crate::{
    community::{Community, CommunityError},
    page,
};

/// What the handlers work with.
pub(crate) struct App<D> {
    idem: Idem<D>,
    database: Database,
    delay: Duration,
}

impl<D> App<D> {
    pub(crate) fn new(idem: Idem<D>, database: impl Into<Database>, delay: Duration) -> Self {
        Self { idem, database: database.into(), delay }
    }
}

impl<D> Clone for App<D> {
    fn clone(&self) -> Self {
        Self { idem: self.idem.clone(), database: self.database.clone(), delay: self.delay }
    }
}

impl<D> FromRef<App<D>> for Idem<D> {
    fn from_ref(app: &App<D>) -> Self {
        app.idem.clone()
    }
}

impl<D> FromRef<App<D>> for Database {
    fn from_ref(app: &App<D>) -> Self {
        app.database.clone()
    }
}

impl<D> FromRef<App<D>> for Duration {
    fn from_ref(app: &App<D>) -> Self {
        app.delay
    }
}

pub(crate) fn router<D: 'static>(app: App<D>, create: MethodRouter<App<D>>) -> Router {
    Router::new()
        .merge(page::router())
        .route("/api/communities", create.get(list_communities))
        .route("/api/communities/{id}", get(show_community))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(app)
}

macro_rules! create {
    ($module:ident: $Database:ident) => {
        pub(crate) mod $module {
            use std::time::Duration;

            use axum::{extract::State, response::IntoResponse};
            use demo::User;
            use idem::{Tx, idempotent};

            use crate::{
                community::{CommunityError, NewCommunity},
                creation::$module as creation,
            };

            #[idempotent(scope = "user", required = false)]
            pub(crate) async fn create_community(
                State(delay): State<Duration>,
                user: User,
                mut tx: Tx<sqlx::$Database>,
                new: NewCommunity,
            ) -> Result<impl IntoResponse, CommunityError> {
                tracing::debug!("a community is being created");
                tokio::time::sleep(delay).await;
                Ok(super::created(creation::create(&mut tx, &user, new).await?))
            }
        }
    };
}

create!(sqlite: Sqlite);
create!(postgres: Postgres);

fn created(community: Community) -> impl IntoResponse {
    let location = [(header::LOCATION, format!("/api/communities/{}", community.id))];
    (StatusCode::CREATED, location, Json(community))
}

async fn list_communities(
    State(database): State<Database>,
) -> Result<Json<Vec<Community>>, CommunityError> {
    Ok(Json(find(&database, None).await?))
}

async fn show_community(
    State(database): State<Database>,
    Path(id): Path<String>,
) -> Result<Json<Community>, CommunityError> {
    let id: Uuid = id.parse().map_err(|_| CommunityError::NotFound)?;
    find(&database, Some(id.to_string())).await?.pop().map(Json).ok_or(CommunityError::NotFound)
}

const SELECT: &str = "SELECT communities.id, name, slug, tag \
     FROM communities LEFT JOIN tags ON community_id = communities.id \
     WHERE CAST($1 AS text) IS NULL OR communities.id = $1 \
     ORDER BY seq DESC, place";

/// One, or all, newest first.
async fn find(database: &Database, id: Option<String>) -> sqlx::Result<Vec<Community>> {
    let rows: Vec<(String, String, String, Option<String>)> = demo::on!(database, |it| {
        sqlx::query_as(SELECT).bind(id).fetch_all(&mut *it.reader().await?).await?
    });
    let mut communities = Vec::<Community>::new();
    for (id, name, slug, tag) in rows {
        match communities.last_mut() {
            Some(last) if last.id == id => last.tags.extend(tag),
            _ => communities.push(Community { id, name, slug, tags: tag.into_iter().collect() }),
        }
    }
    Ok(communities)
}
