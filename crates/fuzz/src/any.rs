//! Values of any type, made by what it takes to read one: serde asks for parts, and each is drawn.

use crate::source::Source;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use std::fmt;
use thiserror::Error;

/// Elements of a list, at most: targets are about shapes, not about sizes.
const ELEMENTS_MAX: usize = 3;

/// What was drawn is no value of the type.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Unsuited(String);

impl Error for Unsuited {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

pub(crate) struct Any<'s, 'a> {
    pub(crate) source: &'s mut Source<'a>,
    pub(crate) human: bool,
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {
        $(
            #[expect(clippy::cast_possible_truncation, reason = "what is left of the number is as good")]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
                visitor.$visit(self.source.number() as $type)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut Any<'_, '_> {
    type Error = Unsuited;

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_u64(self.source.number())
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_i64(self.source.number().cast_signed())
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_u128(u128::from(self.source.number()) << (self.source.byte() % 65))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_f32(f32::from(self.source.byte()))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_f64(f64::from(self.source.byte()))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_bool(self.source.flip())
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_char(char::from(self.source.byte()))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_string(self.source.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_string(self.source.text())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        // Bytes may be something encoded, and nothing at all is mostly something.
        let len_max = if self.source.flip() { 40 } else { 0 };
        visitor.visit_byte_buf(self.source.bytes(len_max))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        if self.source.flip() { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unsuited> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unsuited> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        let left = self.source.below(ELEMENTS_MAX + 1);
        visitor.visit_seq(Elements { any: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_seq(Elements { any: self, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Unsuited> {
        self.deserialize_tuple(left, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        let left = self.source.below(ELEMENTS_MAX + 1);
        visitor.visit_map(Elements { any: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsuited> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsuited> {
        let index = u32::try_from(self.source.below(variants.len())).unwrap_or_default();
        visitor.visit_enum(Variant { any: self, index })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        self.deserialize_str(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        if self.source.flip() { self.deserialize_str(visitor) } else { self.deserialize_u64(visitor) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsuited> {
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        self.human
    }
}

struct Elements<'r, 's, 'a> {
    any: &'r mut Any<'s, 'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_, '_> {
    type Error = Unsuited;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unsuited> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.any).map(Some)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, '_, '_> {
    type Error = Unsuited;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unsuited> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unsuited> {
        seed.deserialize(&mut *self.any)
    }
}

struct Variant<'r, 's, 'a> {
    any: &'r mut Any<'s, 'a>,
    index: u32,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_, '_> {
    type Error = Unsuited;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Unsuited> {
        let index: U32Deserializer<Unsuited> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_, '_> {
    type Error = Unsuited;

    fn unit_variant(self) -> Result<(), Unsuited> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unsuited> {
        seed.deserialize(&mut *self.any)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Unsuited> {
        self.any.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsuited> {
        self.any.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    enum Shape {
        Unit,
        New(Option<bool>),
        Pair(u8, String),
        Named { list: Vec<u8>, time: Duration },
    }

    #[test]
    fn every_variant_is_drawn_and_every_kind_of_part() {
        let mut seen = BTreeSet::new();
        for n in 0..=u8::MAX {
            let bytes = [n, 0, n / 4, n / 2, n, n / 3, 1, 2, 3, 4, 5];
            let shape: Shape = Source::new(&bytes).any().unwrap();
            seen.insert(match shape {
                Shape::Unit => "unit",
                Shape::New(None) => "none",
                Shape::New(_) => "some",
                Shape::Pair(..) => "pair",
                Shape::Named { list, .. } if list.is_empty() => "empty",
                Shape::Named { .. } => "named",
            });
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
    }
}
