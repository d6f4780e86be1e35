//! [`written`], what of a value can't be told from its JSON any more.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// A walk over a value that nothing is written for.
///
/// JSON has one `null`, for `None` and `()`, and serde_json writes it also for a `Some` of either, and for a float that
/// is no number. What was meant is seen only here, where the value is asked once more.
struct Walk<'w> {
    path: Path<'w>,
    seen: &'w mut Seen,
}

/// What a walk has seen.
#[derive(Default)]
struct Seen {
    /// Where there is a `Some` that is written as `null`.
    hidden: Vec<String>,
    /// All that is no list, map or struct, in order; `None` where nobody asks for it.
    scalars: Option<Vec<Scalar>>,
}

/// Where a scalar is, and how it is written.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scalar {
    pub(super) path: String,
    pub(super) text: String,
}

/// Where the walk is. It lies on the stack, so that a walk that finds nothing allocates nothing.
#[derive(Clone, Copy)]
enum Path<'w> {
    Top,
    /// A field or a variant: words of the program.
    Name(&'w Path<'w>, &'static str),
    /// An element of a list.
    Index(&'w Path<'w>, usize),
    /// A value of a map, whose key is somebody's data.
    Key(&'w Path<'w>),
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
    let mut seen = Seen::default();
    value.serialize(Walk { path: Path::Top, seen: &mut seen })?;
    // Maps are walked in an order that changes with each copy.
    seen.hidden.sort();
    Ok(seen.hidden)
}

/// All scalars of a value, in the order in which they are written; those before the end where there is a fault.
pub(super) fn scalars<T: Serialize>(value: &T) -> Vec<Scalar> {
    let mut seen = Seen { scalars: Some(Vec::new()), ..Seen::default() };
    let _ = value.serialize(Walk { path: Path::Top, seen: &mut seen });
    seen.scalars.unwrap_or_default()
}

impl fmt::Display for Path<'_> {
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
    fn at<'s>(&'s mut self, path: Path<'s>) -> Walk<'s> {
        Walk { path, seen: self.seen }
    }

    fn scalar<T: Serialize + ?Sized>(self, scalar: &T) {
        if let Some(scalars) = &mut self.seen.scalars {
            let text = serde_json::to_string(scalar).unwrap_or_default();
            scalars.push(Scalar { path: self.path.to_string(), text });
        }
    }
}

/// The answers to what is never `null`.
macro_rules! never_null {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, scalar: $type) -> Result<Null, NoNumber> {
            self.scalar(&scalar);
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
        serialize_bool(bool) serialize_char(char) serialize_str(&str)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    /// A list of numbers, as they are written.
    fn serialize_bytes(mut self, bytes: &[u8]) -> Result<Null, NoNumber> {
        let path = self.path;
        bytes.iter().enumerate().for_each(|(index, byte)| self.at(Path::Index(&path, index)).scalar(byte));
        Ok(false)
    }

    fn serialize_f32(self, float: f32) -> Result<Null, NoNumber> {
        if !float.is_finite() {
            return Err(NoNumber(Some(self.path.to_string())));
        }
        self.scalar(&float);
        Ok(false)
    }

    fn serialize_f64(self, float: f64) -> Result<Null, NoNumber> {
        if !float.is_finite() {
            return Err(NoNumber(Some(self.path.to_string())));
        }
        self.scalar(&float);
        Ok(false)
    }

    fn serialize_none(self) -> Result<Null, NoNumber> {
        self.scalar(&());
        Ok(true)
    }

    fn serialize_unit(self) -> Result<Null, NoNumber> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Null, NoNumber> {
        self.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Null, NoNumber> {
        let path = self.path;
        let null = value.serialize(self.at(path))?;
        if null {
            self.seen.hidden.push(path.to_string());
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

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Null, NoNumber> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Null, NoNumber> {
        let path = self.path;
        value.serialize(self.at(Path::Name(&path, variant)))?;
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
        self.step(value, |path| Path::Index(path, index))
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NoNumber> {
        self.step(value, |path| Path::Name(path, name))
    }

    fn step<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        path: impl for<'p> Fn(&'p Path<'p>) -> Path<'p>,
    ) -> Result<(), NoNumber> {
        let outer = self.walk.path;
        let outer = match self.variant {
            Some(variant) => Path::Name(&outer, variant),
            None => outer,
        };
        value.serialize(Walk { path: path(&outer), seen: self.walk.seen })?;
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
        self.step(value, |path| Path::Key(path))
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
