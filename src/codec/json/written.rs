//! [`written`], what of a value can't be told from its JSON any more.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// A walk over a value that nothing is written for.
///
/// JSON has one `null`, for `None` and `()`, and serde_json writes it also for a `Some` of either, and for a float that
/// is no number. What was meant is seen only here, where the value is asked once more.
struct Walk<'w> {
    place: Place<'w>,
    /// Where there is a `Some` that is written as `null`.
    hidden: &'w mut Vec<String>,
}

/// Where the walk is. It lies on the stack, so that a walk that finds nothing allocates nothing.
#[derive(Clone, Copy)]
enum Place<'w> {
    Top,
    /// A field or a variant: words of the program.
    Name(&'w Place<'w>, &'static str),
    /// A place in a list.
    Index(&'w Place<'w>, usize),
    /// A place in a map, whose key is somebody's data.
    Key(&'w Place<'w>),
}

/// Where there is a float that is no number.
#[derive(Debug)]
pub(super) struct NoNumber(pub(super) Option<String>);

/// Whether something is written as `null`.
type Null = bool;

/// The places of every `Some` that is written as `null`, in order.
///
/// # Errors
///
/// The place of a float that is no number.
pub(super) fn written<T: Serialize>(value: &T) -> Result<Vec<String>, NoNumber> {
    let mut hidden = Vec::new();
    value.serialize(Walk { place: Place::Top, hidden: &mut hidden })?;
    // Maps are walked in an order that changes with each copy.
    hidden.sort();
    Ok(hidden)
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Name(before, _) | Self::Index(before, _) | Self::Key(before)) = self else {
            return Ok(());
        };
        before.fmt(f)?;
        let dot = if matches!(before, Self::Top) { "" } else { "." };
        match self {
            Self::Top => Ok(()),
            Self::Name(_, name) => write!(f, "{dot}{name}"),
            Self::Index(_, index) => write!(f, "[{index}]"),
            Self::Key(_) => write!(f, "{dot}*"),
        }
    }
}

impl fmt::Display for NoNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a float that is no number")
    }
}

impl std::error::Error for NoNumber {}

impl ser::Error for NoNumber {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

impl Walk<'_> {
    fn at<'s>(&'s mut self, place: Place<'s>) -> Walk<'s> {
        Walk { place, hidden: self.hidden }
    }
}

/// The answers to what is never `null`.
macro_rules! never_null {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, _: $type) -> Result<Null, NoNumber> {
            Ok(false)
        })*
    };
}

impl<'w> Serializer for Walk<'w> {
    type Ok = Null;
    type Error = NoNumber;
    type SerializeSeq = Inside<'w>;
    type SerializeTuple = Inside<'w>;
    type SerializeTupleStruct = Inside<'w>;
    type SerializeTupleVariant = Inside<'w>;
    type SerializeMap = Inside<'w>;
    type SerializeStruct = Inside<'w>;
    type SerializeStructVariant = Inside<'w>;

    never_null! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    fn serialize_f32(self, float: f32) -> Result<Null, NoNumber> {
        self.serialize_f64(float.into())
    }

    fn serialize_f64(self, float: f64) -> Result<Null, NoNumber> {
        if float.is_finite() { Ok(false) } else { Err(NoNumber(Some(self.place.to_string()))) }
    }

    fn serialize_none(self) -> Result<Null, NoNumber> {
        Ok(true)
    }

    fn serialize_unit(self) -> Result<Null, NoNumber> {
        Ok(true)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Null, NoNumber> {
        Ok(true)
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Null, NoNumber> {
        let place = self.place;
        let null = value.serialize(self.at(place))?;
        if null {
            self.hidden.push(place.to_string());
        }
        Ok(null)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Null, NoNumber> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Null, NoNumber> {
        Ok(false)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Null, NoNumber> {
        let place = self.place;
        value.serialize(self.at(Place::Name(&place, variant)))?;
        Ok(false)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'w>, NoNumber> {
        Ok(Inside { walk: self, variant: None, index: 0 })
    }

    fn serialize_tuple(self, _: usize) -> Result<Inside<'w>, NoNumber> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Inside<'w>, NoNumber> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'w>, NoNumber> {
        Ok(Inside { walk: self, variant: Some(variant), index: 0 })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'w>, NoNumber> {
        self.serialize_seq(None)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Inside<'w>, NoNumber> {
        self.serialize_seq(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'w>, NoNumber> {
        Ok(Inside { walk: self, variant: Some(variant), index: 0 })
    }
}

/// A walk through a list, a map or a struct.
struct Inside<'w> {
    walk: Walk<'w>,
    variant: Option<&'static str>,
    index: usize,
}

impl Inside<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoNumber> {
        let index = self.index;
        self.index += 1;
        self.step(value, |place| Place::Index(place, index))
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NoNumber> {
        self.step(value, |place| Place::Name(place, name))
    }

    fn step<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        place: impl for<'p> Fn(&'p Place<'p>) -> Place<'p>,
    ) -> Result<(), NoNumber> {
        let outer = self.walk.place;
        let outer = match self.variant {
            Some(variant) => Place::Name(&outer, variant),
            None => outer,
        };
        value.serialize(Walk { place: place(&outer), hidden: self.walk.hidden })?;
        Ok(())
    }
}

/// The answers for what is a list to the walk.
macro_rules! as_list {
    ($($kind:ident::$method:ident)*) => {
        $(impl ser::$kind for Inside<'_> {
            type Ok = Null;
            type Error = NoNumber;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoNumber> {
                self.element(value)
            }

            fn end(self) -> Result<Null, NoNumber> {
                Ok(false)
            }
        })*
    };
}

as_list! {
    SerializeSeq::serialize_element SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field SerializeTupleVariant::serialize_field
}

impl ser::SerializeMap for Inside<'_> {
    type Ok = Null;
    type Error = NoNumber;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), NoNumber> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoNumber> {
        self.step(value, |place| Place::Key(place))
    }

    fn end(self) -> Result<Null, NoNumber> {
        Ok(false)
    }
}

/// The answers for what has fields.
macro_rules! as_struct {
    ($($kind:ident)*) => {
        $(impl ser::$kind for Inside<'_> {
            type Ok = Null;
            type Error = NoNumber;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), NoNumber> {
                self.field(name, value)
            }

            fn end(self) -> Result<Null, NoNumber> {
                Ok(false)
            }
        })*
    };
}

as_struct! { SerializeStruct SerializeStructVariant }
