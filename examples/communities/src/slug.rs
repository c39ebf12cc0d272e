//! What a community is called in URLs: `my-community`, of whatever script its name is.

/// Longer ones are cut.
const MAX_BYTES: usize = 60;

/// What a name becomes, if nobody else has it: words of ASCII letters and digits.
pub(crate) fn of(name: &str) -> String {
    let mut slug = slug::slugify(name);
    slug.truncate(MAX_BYTES);
    match slug.trim_end_matches('-') {
        // A name may be all punctuation.
        "" => "community".to_owned(),
        slug => slug.to_owned(),
    }
}

/// What all slugs have in common that could become the same by a number at their end.
pub(crate) fn family(mut slug: &str) -> &str {
    while let Some((head, number)) = slug.rsplit_once('-')
        && number.bytes().all(|it| it.is_ascii_digit())
    {
        slug = head;
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_script_becomes_words_for_a_url() {
        for (name, slug) in [
            ("My Community", "my-community"),
            ("  C++ & Rust!  ", "c-rust"),
            ("Crème brûlée", "creme-brulee"),
            ("Cre\u{300}me bru\u{302}le\u{301}e", "creme-brulee"),
            ("Straßenmusik Zürich", "strassenmusik-zurich"),
            ("Сообщество друзей", "soobshchestvo-druzei"),
            ("Ελληνική κοινότητα", "ellenike-koinoteta"),
            ("北京读书会", "bei-jing-du-shu-hui"),
            ("東京の会", "dong-jing-nohui"),
            ("서울 모임", "seoul-moim"),
            ("مجتمع", "mjtm"),
            ("קהילה", "qhylh"),
            ("हिन्दी समुदाय", "hindii-smudaay"),
            ("🦀🦀", "crab-crab"),
            ("!!!", "community"),
            ("\u{e000}", "community"),
        ] {
            assert_eq!(of(name), slug, "{name}");
        }
    }

    #[test]
    fn a_slug_is_never_long_and_never_ends_in_a_dash() {
        assert_eq!(of(&"a".repeat(80)), "a".repeat(60));
        assert_eq!(of(&format!("{} b", "a".repeat(59))), "a".repeat(59));
        assert_eq!(of(&"龍".repeat(80)), ["long"; 12].join("-"));
    }

    #[test]
    fn slugs_that_numbers_can_make_equal_are_one_family() {
        for slug in ["club", "club-1", "club-12", "club-1-2"] {
            assert_eq!(family(slug), "club");
        }
        assert_eq!(family("club-1a"), "club-1a");
        assert_eq!(family("1984"), "1984");
        assert_eq!(family("42-7"), "42");
    }
}
