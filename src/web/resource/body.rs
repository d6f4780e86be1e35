//! [`Body`], of responses, and reading that of a request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};

use crate::http::Problem;
use crate::web::resource::events::Feeding;

/// The body of a response of [`Routes`](crate::web::resource::Routes): JSON, none, or a stream of events.
pub struct Body(Form);

enum Form {
    Whole(Bytes),
    /// None, of open length: see [`Unsent`](crate::web::response::Unsent).
    Unsent,
    Events(Box<dyn Feeding>),
    Ended,
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Form::Whole(bytes))
    }

    pub(super) fn unsent() -> Self {
        Self(Form::Unsent)
    }

    pub(super) fn events(feeding: impl Feeding + 'static) -> Self {
        Self(Form::Events(Box::new(feeding)))
    }

    /// How long it is, where that is known and it is sent.
    pub(super) fn length(&self) -> Option<usize> {
        match &self.0 {
            Form::Whole(bytes) => Some(bytes.len()),
            _ => None,
        }
    }
}

/// For layers that answer by themselves, as those of `web::tower`.
impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::whole(bytes.into())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Form::Events(feeding) = &mut self.0 {
            return feeding.poll_event(context).map(|event| event.map(|event| Ok(Frame::data(event))));
        }
        match std::mem::replace(&mut self.0, Form::Ended) {
            Form::Whole(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Form::Whole(bytes) => bytes.is_empty(),
            Form::Unsent | Form::Ended => true,
            Form::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Form::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Form::Unsent | Form::Events(_) | Form::Ended => SizeHint::default(),
        }
    }
}

/// All of a body, if it is not longer than `limit` bytes.
pub(super) async fn read<B: http_body::Body>(body: B, limit: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::of_status(413).with_detail(format!("a body has at most {limit} bytes here"));
    // What says that it is too long is not read at all.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(frame) = frame else { return Err(Problem::of_status(400).with_detail("the body broke off")) };
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > limit - bytes.len() {
            return Err(too_large());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let taken = chunk.len();
            data.advance(taken);
        }
    }
    Ok(bytes)
}
