//! The HTTP API. Creating exists once for each database, because a transaction has the type of its
//! database.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{FromRef, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use demo::Database;
use idem::Idem;
use serde_json::json;

use crate::{
    meters::Meters,
    project::{self, Project, ProjectError},
    tiers,
};

/// What the handlers work with.
pub(crate) struct App<D> {
    pub(crate) idem: Idem<D>,
    pub(crate) database: Database,
    pub(crate) delay: Duration,
    pub(crate) meters: Meters,
}

impl<D> Clone for App<D> {
    fn clone(&self) -> Self {
        let Self { idem, database, delay, meters } = self;
        Self {
            idem: idem.clone(),
            database: database.clone(),
            delay: *delay,
            meters: meters.clone(),
        }
    }
}

impl<D> FromRef<App<D>> for Idem<D> {
    fn from_ref(app: &App<D>) -> Self {
        app.idem.clone()
    }
}

impl<D> FromRef<App<D>> for Duration {
    fn from_ref(app: &App<D>) -> Self {
        app.delay
    }
}

pub(crate) fn router<D: 'static>(app: App<D>, create: MethodRouter<App<D>>) -> Router {
    Router::new()
        .route("/api/projects", create.get(list_projects))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(say_which_tiers_are_live))
        .route("/metrics", get(show_metrics))
        .with_state(app)
}

macro_rules! create {
    ($module:ident: $Database:ident) => {
        pub(crate) mod $module {
            use std::time::Duration;

            use axum::{Json, extract::State, http::StatusCode};
            use demo::User;
            use idem::{Tx, idempotent};
            use uuid::Uuid;

            use crate::project::{self, NewProject, Project, ProjectError, today};

            /// Which host a request was sent to, and from which page, is no part of what it asks for.
            #[idempotent(
                scope = "user",
                fallback_key = "(&project.name, today())",
                fingerprint = "project",
                query = false,
                on_conflict = "wait",
                wait = "20s"
            )]
            pub(crate) async fn create_project(
                State(delay): State<Duration>,
                user: User,
                mut tx: Tx<sqlx::$Database>,
                project: NewProject,
            ) -> Result<(StatusCode, Json<Project>), ProjectError> {
                tracing::debug!("a project is being created");
                tokio::time::sleep(delay).await;
                let id = Uuid::new_v4().to_string();
                let project = Project { id, name: project.name, owner: user.0 };
                sqlx::query(project::INSERT)
                    .bind(&project.id)
                    .bind(&project.name)
                    .bind(&project.owner)
                    .execute(&mut *tx)
                    .await?;
                Ok((StatusCode::CREATED, Json(project)))
            }
        }
    };
}

create!(sqlite: Sqlite);
create!(postgres: Postgres);

async fn list_projects<D>(State(app): State<App<D>>) -> Result<Json<Vec<Project>>, ProjectError> {
    Ok(Json(project::all(&app.database).await?))
}

/// The service is ready while its durable store is, whatever becomes of the cache.
async fn say_which_tiers_are_live<D>(State(app): State<App<D>>) -> Response {
    match tiers::live(&app.idem, &app.database).await {
        Ok(tiers) => Json(tiers).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "durable": "down" }))).into_response()
        }
    }
}

async fn show_metrics<D>(State(app): State<App<D>>) -> String {
    app.meters.render()
}
