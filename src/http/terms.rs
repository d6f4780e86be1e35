//! [`Terms`], on which a service takes requests.

/// On which terms a service takes requests: what they must say, and how their entity tags are compared.
///
/// Set once for all handlers, not in each: [`Preconditions::under`](crate::http::Preconditions::under) applies them, and the
/// extractors of [`web`](crate::web) look for them in the extensions of the request, those of actix-web in the data of the
/// application.
///
/// ```
/// use ifmatch::http::{Preconditions, Terms};
///
/// let terms = Terms::new().required().lenient();
/// let request = Preconditions::from_headers([("If-Match", "W/\"7\"")]).under(terms);
/// # assert!(request != Preconditions::from_headers([("If-Match", "W/\"7\"")]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    basis: Basis,
    star: Star,
    tags: Compared,
}

/// Whether a write must say which state it is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Basis {
    #[default]
    Optional,
    Required,
}

/// Whether `If-Match: *` says enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Star {
    #[default]
    Taken,
    Refused,
}

/// How entity tags are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Compared {
    #[default]
    AsTheRfc,
    Leniently,
}

impl Terms {
    /// Those of RFC 9110: no write has to say what it is based on, `*` is taken, and `If-Match` compares strongly.
    pub const fn new() -> Self {
        Self { basis: Basis::Optional, star: Star::Taken, tags: Compared::AsTheRfc }
    }

    /// What either of them requires, and lenient where either is.
    #[cfg(feature = "resource")]
    pub(crate) fn and(self, other: Self) -> Self {
        let of = |one: bool| if one { other } else { self };
        Self {
            basis: of(self.basis == Basis::Optional).basis,
            star: of(self.star == Star::Taken).star,
            tags: of(self.tags == Compared::AsTheRfc).tags,
        }
    }

    /// A write must say which state it is based on, by `If-Match`, or by `If-None-Match: *` for none; else 428.
    /// `If-None-Match` with tags only says which states it is not based on, and a date is too coarse: neither is enough.
    ///
    /// ```
    /// use ifmatch::http::{self, Preconditions, Terms};
    /// use ifmatch::Collection;
    ///
    /// let notes = Collection::<String>::in_memory();
    /// let blind = Preconditions::none().under(Terms::new().required());
    /// let refused = notes.put_if("readme", &blind, "hello".to_string()).wait().unwrap_err();
    /// assert_eq!(http::status(&refused), 428);
    /// ```
    pub const fn required(self) -> Self {
        Self { basis: Basis::Required, ..self }
    }

    /// `If-Match: *` is refused with 428: it says that there is something, and not what the write is based on.
    ///
    /// ```
    /// # use ifmatch::http::{self, Preconditions, Terms};
    /// # let notes = ifmatch::Collection::<String>::in_memory();
    /// let any = Preconditions::from_headers([("If-Match", "*")]).under(Terms::new().without_star());
    /// let refused = notes.put_if("readme", &any, "hello".to_string()).wait().unwrap_err();
    /// assert_eq!(http::status(&refused), 428);
    /// ```
    pub const fn without_star(self) -> Self {
        Self { star: Star::Refused, ..self }
    }

    /// Tags of ours are recognised also where a compressing proxy made them weak (`W/"7"`, as nginx and HAProxy do) or gave
    /// them a suffix (`"7-gzip"`, as Apache does). [`docs::proxies`](crate::docs::proxies) tells which do, and how to set
    /// them so that this is not needed.
    ///
    /// That is a departure from the strong comparison which RFC 9110 wants for `If-Match`. It is safe where all that proxies
    /// change is the coding of the body: the tag still names one version.
    ///
    /// ```
    /// # use ifmatch::http::{Preconditions, Terms};
    /// # let notes = ifmatch::Collection::<String>::in_memory();
    /// let first = notes.create("readme", "hello".to_string()).wait()?;
    /// let weakened = format!("W/\"{}\"", first.version);
    ///
    /// let request = Preconditions::from_headers([("If-Match", weakened)]).under(Terms::new().lenient());
    /// notes.put_if("readme", &request, "hello, world".to_string()).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub const fn lenient(self) -> Self {
        Self { tags: Compared::Leniently, ..self }
    }

    pub(super) fn wants_a_basis(self) -> bool {
        self.basis == Basis::Required
    }

    pub(super) fn refuses_star(self) -> bool {
        self.star == Star::Refused
    }

    pub(super) fn are_lenient(self) -> bool {
        self.tags == Compared::Leniently
    }
}
