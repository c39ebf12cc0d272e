//! Projects: what a client asks for, what there is, what can be wrong.

use std::time::SystemTime;

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use demo::Database;
use serde::{Deserialize, Serialize};

/// In characters.
const MAX_NAME: usize = 80;

/// What a client asks for, checked. It is an extractor, so that what is refused is refused before the
/// key is claimed.
#[derive(Serialize)]
pub(crate) struct NewProject {
    pub(crate) name: String,
}

impl<S: Send + Sync> FromRequest<S> for NewProject {
    type Rejection = ProjectError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ProjectError> {
        #[derive(Deserialize)]
        #[serde(expecting = "an object with `name`")]
        struct Form {
            name: String,
        }
        let Json(Form { name }) = Json::from_request(request, state).await?;
        let name = name.trim();
        if name.is_empty() {
            return Err(ProjectError::Blank);
        }
        if name.chars().count() > MAX_NAME {
            return Err(ProjectError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(ProjectError::ControlCharacter);
        }
        Ok(Self { name: name.to_owned() })
    }
}

/// The day, in UTC: without a key of its client, a project of the same name is another one tomorrow.
pub(crate) fn today() -> u64 {
    const DAY: u64 = 24 * 60 * 60;
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |it| it.as_secs() / DAY)
}

/// A project that was created.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) owner: String,
}

pub(crate) const INSERT: &str = "INSERT INTO projects (id, name, owner) VALUES ($1, $2, $3)";

const SELECT: &str = "SELECT id, name, owner FROM projects ORDER BY seq DESC";

/// Everybody's, newest first.
pub(crate) async fn all(database: &Database) -> sqlx::Result<Vec<Project>> {
    demo::on!(database, |it| { sqlx::query_as(SELECT).fetch_all(&mut *it.reader().await?).await })
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectError {
    #[error("give the project a name")]
    Blank,
    #[error("the name must have at most {MAX_NAME} characters")]
    TooLong,
    #[error("the name must not have line breaks or other control characters")]
    ControlCharacter,
    #[error("{}", .0.body_text())]
    Body(#[from] JsonRejection),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl IntoResponse for ProjectError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Blank | Self::TooLong | Self::ControlCharacter => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Body(rejection) => rejection.status(),
            Self::Database(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "{self}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(serde_json::json!({ "error": self.to_string() }))).into_response()
    }
}
