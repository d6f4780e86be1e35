//! [`OneOrMany`], a list that needs no allocation for one element.

use std::slice;

/// A list that needs no allocation for one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OneOrMany<E> {
    One(E),
    Many(Vec<E>),
}

impl<E> OneOrMany<E> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[E] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn into_vec(self) -> Vec<E> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl<E> FromIterator<E> for OneOrMany<E> {
    fn from_iter<I: IntoIterator<Item = E>>(elements: I) -> Self {
        let mut elements = elements.into_iter();
        match (elements.next(), elements.next()) {
            (Some(one), None) => Self::One(one),
            (None, _) => Self::Many(Vec::new()),
            (Some(first), Some(second)) => {
                let mut many = Vec::with_capacity(2 + elements.size_hint().0);
                many.push(first);
                many.push(second);
                many.extend(elements);
                Self::Many(many)
            }
        }
    }
}
