//! [`Call`], what a hook sees of a request.

use http::request::Parts;
use http::{Extensions, HeaderMap, Method};

/// A request, as [`Routes::allow`](crate::web::resource::Routes::allow) sees it: before anything is read or written.
///
/// ```
/// use ifmatch::http::Problem;
/// use ifmatch::web::resource::Call;
///
/// /// Put there by a layer in front, which knows who it is.
/// #[derive(Clone)]
/// struct User(String);
///
/// fn allow(call: &Call<'_>) -> Result<(), Problem> {
///     match call.extensions().get::<User>() {
///         Some(user) if user.0 == "ann" || !call.writes() => Ok(()),
///         Some(_) => Err(Problem::of_status(403)),
///         None => Err(Problem::of_status(401).with_header("www-authenticate", "Bearer")),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Call<'a> {
    pub(super) parts: &'a Parts,
    pub(super) id: Option<&'a str>,
}

impl Call<'_> {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// Whether it may change anything.
    pub fn writes(&self) -> bool {
        !matches!(*self.method(), Method::GET | Method::HEAD)
    }

    /// The id of the resource: that in the path, or the one that a creation is to have. `None` where it is about the
    /// collection: a list, the changes, what became of a write, a creation under an id that is drawn. Where the id comes from
    /// the value, a creation is asked about twice, first without it.
    pub fn id(&self) -> Option<&str> {
        self.id
    }

    /// The query, as it was sent: `resolve=…` asks what became of a write.
    pub fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// What layers in front put there.
    pub fn extensions(&self) -> &Extensions {
        &self.parts.extensions
    }
}
