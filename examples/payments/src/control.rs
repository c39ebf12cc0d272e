//! What the crash harness must find: payments whose record and effect are apart. A process that is
//! killed between the two commits pays again.

macro_rules! control {
    ($module:ident: $Database:ident) => {
        pub(crate) mod $module {
            use axum::{Json, extract::State, response::IntoResponse};
            use demo::{User, $Database};
            use idem::idempotent;
            use uuid::Uuid;

            use crate::{
                api,
                business::$module as business,
                payments::{Order, PaymentError},
                provider::$module::Provider,
            };

            #[idempotent(scope = "user", ttl = "24h")]
            pub(crate) async fn create_payment(
                State(provider): State<Provider>,
                State(database): State<$Database>,
                user: User,
                Json(order): Json<Order>,
            ) -> Result<impl IntoResponse, PaymentError> {
                let order = order.validated()?;
                let mut tx = database.begin().await?;
                order.processed(provider.delay).await?;
                let id = Uuid::new_v4().to_string();
                let payment = business::pay(&mut tx, &user, order, id).await?;
                tx.commit().await?;
                Ok(api::created(payment))
            }
        }
    };
}

control!(sqlite: Sqlite);
control!(postgres: Postgres);
