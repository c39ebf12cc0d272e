//! The HTTP API, once for each database: an engine and a connection have the type of their database.

use axum::{
    Json,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::payments::Payment;

macro_rules! api {
    ($module:ident: $Database:ident) => {
        pub(crate) mod $module {
            use std::time::Duration;

            use axum::{
                Json, Router,
                extract::{FromRef, State},
                http::StatusCode,
                response::IntoResponse,
                routing::{get, post},
            };
            use demo::{User, $Database};
            use idem::{Attempt, Idem, Tx, idempotent};
            use uuid::Uuid;

            use crate::{
                business::$module as business,
                payments::{Balance, Order, Payment, PaymentError, Payout},
                provider::$module::Provider,
            };

            /// What the handlers work with.
            #[derive(Clone, FromRef)]
            pub(crate) struct App {
                pub(crate) idem: Idem<sqlx::$Database>,
                pub(crate) database: $Database,
                pub(crate) provider: Provider,
            }

            impl App {
                pub(crate) fn new(
                    idem: Idem<sqlx::$Database>,
                    database: $Database,
                    delay: Duration,
                ) -> Self {
                    let provider = Provider::beside(&database, delay);
                    Self { idem, database, provider }
                }
            }

            pub(crate) fn router(app: App) -> Router {
                let router = Router::new()
                    .route("/payments", post(create_payment).get(list_payments))
                    .route("/payouts", post(create_payout).get(list_payouts))
                    .route("/balance", get(balance))
                    .route("/healthz", get(|| async { "ok\n" }));
                #[cfg(feature = "control")]
                let router = router
                    .route("/control/payments", post(crate::control::$module::create_payment));
                router.with_state(app)
            }

            #[idempotent(scope = "user", ttl = "24h")]
            async fn create_payment(
                State(provider): State<Provider>,
                user: User,
                mut tx: Tx<sqlx::$Database>,
                Json(order): Json<Order>,
            ) -> Result<impl IntoResponse, PaymentError> {
                let order = order.validated()?;
                order.processed(provider.delay).await?;
                let id = Uuid::new_v4().to_string();
                Ok(super::created(business::pay(&mut tx, &user, order, id).await?))
            }

            /// The provider is no part of our database: whether a call that was cut off moved the
            /// money, a person has to find out.
            #[idempotent(scope = "user", ttl = "24h", recover = "hold")]
            async fn create_payout(
                State(provider): State<Provider>,
                State(database): State<$Database>,
                user: User,
                attempt: Attempt,
                Json(order): Json<Order>,
            ) -> Result<impl IntoResponse, PaymentError> {
                let order = order.validated()?;
                let provider_ref = provider.pay_out(&attempt.child_key("provider"), &order).await?;
                let Order { amount, currency, to } = order;
                let payout = Payout { id: attempt.key(), amount, currency, to, provider_ref };
                let mut tx = database.begin().await?;
                business::keep_payout(&mut tx, &user, &payout).await?;
                tx.commit().await?;
                Ok((StatusCode::CREATED, Json(payout)))
            }

            async fn list_payments(
                State(database): State<$Database>,
                user: User,
            ) -> Result<Json<Vec<Payment>>, PaymentError> {
                let mut connection = database.reader().await?;
                Ok(Json(business::payments_of(&mut connection, &user).await?))
            }

            async fn list_payouts(
                State(database): State<$Database>,
                user: User,
            ) -> Result<Json<Vec<Payout>>, PaymentError> {
                let mut connection = database.reader().await?;
                Ok(Json(business::payouts_of(&mut connection, &user).await?))
            }

            async fn balance(
                State(database): State<$Database>,
                user: User,
            ) -> Result<Json<Balance>, PaymentError> {
                let mut connection = database.reader().await?;
                Ok(Json(business::balance_of(&mut connection, &user).await?))
            }
        }
    };
}

api!(sqlite: Sqlite);
api!(postgres: Postgres);

pub(crate) fn created(payment: Payment) -> impl IntoResponse {
    let location = [(header::LOCATION, format!("/payments/{}", payment.id))];
    (StatusCode::CREATED, location, Json(payment))
}
