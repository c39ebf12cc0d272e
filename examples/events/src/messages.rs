//! What people are told, in all languages.

use idem::Problem;

use crate::{language::Language, refusal::Refusal};

/// One message.
pub(crate) struct Message {
    en: &'static str,
    ru: &'static str,
}

impl Message {
    pub(crate) const fn in_language(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Russian => self.ru,
        }
    }
}

pub(crate) const fn of(refusal: &Refusal) -> Message {
    match refusal {
        Refusal::Guard(problem) => of_problem(problem),
        Refusal::NoRoute => Message {
            en: "There is nothing at this address.",
            ru: "По этому адресу ничего нет.",
        },
        Refusal::NoMethod => Message {
            en: "This address does not take this method.",
            ru: "Этот адрес не поддерживает такой метод.",
        },
        Refusal::Anonymous => Message {
            en: "Sign in: send the header Authorization: Bearer <user>.",
            ru: "Войдите в систему: отправьте заголовок Authorization: Bearer <user>.",
        },
        Refusal::Query(_) => Message {
            en: "The query cannot be understood; confirm_credit is 0 or 1.",
            ru: "Параметры запроса непонятны; confirm_credit — это 0 или 1.",
        },
        Refusal::Body(_) => Message {
            en: "Send JSON with a title and a number of participants.",
            ru: "Отправьте JSON с названием (title) и числом участников (participants).",
        },
        Refusal::Title => Message {
            en: "The title is empty, too long, or has control characters.",
            ru: "Название пустое, слишком длинное или содержит управляющие символы.",
        },
        Refusal::Participants => Message {
            en: "This number of participants is not possible.",
            ru: "Такое число участников невозможно.",
        },
        Refusal::ConfirmationRequired { .. } => Message {
            en: "This event costs credit. To confirm the price, send the same request with the same \
                 key to ?confirm_credit=1.",
            ru: "Это мероприятие платное. Чтобы подтвердить цену, отправьте тот же запрос с тем же \
                 ключом на ?confirm_credit=1.",
        },
        Refusal::InsufficientCredit { .. } => Message {
            en: "There is not enough credit for this event. Nothing was charged.",
            ru: "Для этого мероприятия недостаточно кредитов. Ничего не списано.",
        },
        Refusal::Refused => Message {
            en: "This event was refused.",
            ru: "Это мероприятие отклонено.",
        },
        Refusal::Unavailable => Message {
            en: "The service is unavailable. Try again later, with the same key.",
            ru: "Сервис недоступен. Повторите позже с тем же ключом.",
        },
        Refusal::Database => FAILED,
    }
}

const fn of_problem(problem: &Problem) -> Message {
    match problem {
        Problem::KeyMissing { .. } => Message {
            en: "Send a UUID in the header Idempotency-Key: a new one for each event, the same one \
                 for each retry.",
            ru: "Отправьте UUID в заголовке Idempotency-Key: новый для каждого мероприятия, тот же \
                 при каждом повторе.",
        },
        Problem::KeyInvalid { .. } => Message {
            en: "The header Idempotency-Key must be one UUID, such as \
                 8e03978e-40d5-43dd-bc93-6894a57f9324.",
            ru: "Заголовок Idempotency-Key должен содержать один UUID, например \
                 8e03978e-40d5-43dd-bc93-6894a57f9324.",
        },
        Problem::BodyTooLarge => Message {
            en: "The request is too large.",
            ru: "Запрос слишком большой.",
        },
        Problem::BodyUnreadable => Message {
            en: "The request ended early or is broken.",
            ru: "Запрос оборвался или повреждён.",
        },
        Problem::Mismatch => Message {
            en: "This key was used for another request. Use a new key for a new event.",
            ru: "Этот ключ уже использован для другого запроса. Для нового мероприятия нужен новый \
                 ключ.",
        },
        Problem::InFlight => Message {
            en: "This request is already in progress. Ask again in a moment, with the same key.",
            ru: "Этот запрос уже выполняется. Повторите чуть позже с тем же ключом.",
        },
        Problem::OutcomeUnknown => Message {
            en: "This request was cut off, and its outcome is being found out.",
            ru: "Выполнение запроса прервалось, его результат выясняется.",
        },
        Problem::ResponseNotKept => Message {
            en: "This request is done; its answer was not kept.",
            ru: "Этот запрос выполнен, но его ответ не сохранён.",
        },
        Problem::StoreUnavailable => Message {
            en: "The service is unavailable, and nothing was done. Try again later, with the same key.",
            ru: "Сервис недоступен, ничего не сделано. Повторите позже с тем же ключом.",
        },
        Problem::TransactionConflict => Message {
            en: "The request met another one, and nothing was done. Try again, with the same key.",
            ru: "Запрос столкнулся с другим, ничего не сделано. Повторите с тем же ключом.",
        },
        Problem::CommitUnknown { .. } => Message {
            en: "Whether the request was done is not known. Try again, with the same key.",
            ru: "Неизвестно, выполнен ли запрос. Повторите с тем же ключом.",
        },
        _ => FAILED,
    }
}

const FAILED: Message = Message {
    en: "The request failed unexpectedly. It may be sent again, with the same key.",
    ru: "Произошла непредвиденная ошибка. Запрос можно повторить с тем же ключом.",
};
