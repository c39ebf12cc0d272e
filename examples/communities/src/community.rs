//! Communities: what a client asks for, what there is, what can be wrong.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// In characters.
const MAX_NAME: usize = 80;

/// As many are looked at.
const MAX_TAGS: usize = 10;

/// What a client asks for, checked. It is an extractor, so that what is refused is refused before the
/// key is claimed: a corrected form may be sent with the same key.
pub(crate) struct NewCommunity {
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
}

impl<S: Send + Sync> FromRequest<S> for NewCommunity {
    type Rejection = CommunityError;

    async fn from_request(request: Request, state: &S) -> Result<Self, CommunityError> {
        #[derive(Deserialize)]
        #[serde(expecting = "an object with `name`, and perhaps `tags`")]
        struct Form {
            name: String,
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let Json(Form { name, tags }) = Json::from_request(request, state).await?;
        let name = name.trim();
        if name.chars().all(is_blank) {
            return Err(CommunityError::Blank);
        }
        if name.chars().count() > MAX_NAME {
            return Err(CommunityError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(CommunityError::ControlCharacter);
        }
        let tags = tags.unwrap_or_default().into_iter().take(MAX_TAGS);
        let tags = tags.map(|tag| tag.trim().to_owned()).collect();
        Ok(Self { name: name.to_owned(), tags })
    }
}

/// Whether nobody can see the character.
fn is_blank(character: char) -> bool {
    let is_invisible = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}'
    );
    is_invisible || character.is_whitespace()
}

/// A community that was created.
#[derive(Serialize)]
pub(crate) struct Community {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) slug: String,
    /// Those that were kept.
    pub(crate) tags: Vec<String>,
}

/// Why there is no community.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommunityError {
    #[error("give the community a name")]
    Blank,
    #[error("the name must have at most {MAX_NAME} characters")]
    TooLong,
    #[error("the name must not have line breaks or other control characters")]
    ControlCharacter,
    #[error("{}", .0.body_text())]
    Body(#[from] JsonRejection),
    #[error("there is no such community")]
    NotFound,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl IntoResponse for CommunityError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Blank | Self::TooLong | Self::ControlCharacter => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Body(rejection) => rejection.status(),
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Database(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "{self}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(serde_json::json!({ "error": self.to_string() }))).into_response()
    }
}
