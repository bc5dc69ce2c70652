//! What a manifest says: for which version of what, and which values a device must have measured.
//!
//! Source: ISO/IEC 19770-2:2015 (SWID tags); TCG "Reference Integrity Manifest Information Model" 1.01; NVIDIA nvtrust,
//! `rim/__init__.py`, for the attributes of measurements, which no standard has.

use std::collections::{BTreeMap, BTreeSet};

use super::xml::{Element, Read};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
/// Namespace of the values.
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
/// Most values that a measurement may have. NVIDIA's have up to four.
const MAX_ALTERNATIVES: usize = 64;
/// Longest value, in bytes. NVIDIA's have 48.
const MAX_VALUE_BYTES: usize = 64;
/// Longest identifier or version, in bytes. NVIDIA's have up to 96.
const MAX_TEXT_BYTES: usize = 128;

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The tag's identifier.
    pub(super) id: String,
    /// The version of VBIOS or driver (`colloquialVersion`).
    pub(super) version: String,
    /// The chip.
    pub(super) product: String,
    /// Whether the chip is a switch, which has no driver that is measured.
    pub(super) switch: bool,
    /// Values of the active measurements, by the manifest's index: any one of them is as it should be.
    pub(super) active: BTreeMap<u8, Vec<Vec<u8>>>,
}

/// Reads a manifest without its signature.
pub(super) fn manifest(root: &Element<'_>) -> Read<Manifest> {
    const FORM: &str = "the manifest is not one tag with an entity, a description and measurements";
    if !root.is(SWID, "SoftwareIdentity") {
        return Err("the document is no software identification tag");
    }
    // A patch or a supplement is measured beside something else, a corpus is not installed.
    if ["corpus", "patch", "supplemental"].iter().any(|name| !matches!(root.attribute("", name), None | Some("false")))
    {
        return Err("the tag is for a part of something");
    }
    let (mut meta, mut payload) = (None, None);
    for element in root.elements().ok_or(FORM)? {
        let known = match element.local {
            _ if element.namespace != SWID => false,
            "Entity" => element.children.is_empty(),
            "Meta" => element.children.is_empty() && meta.replace(element).is_none(),
            "Payload" => payload.replace(element).is_none(),
            _ => false,
        };
        if !known {
            return Err(FORM);
        }
    }
    let (meta, payload) = meta.zip(payload).ok_or(FORM)?;
    let text =
        |element: &Element<'_>, name| element.attribute("", name).filter(|text| is_word(text)).map(str::to_owned);
    let name = || Some((text(root, "tagId")?, text(meta, "colloquialVersion")?, text(meta, "product")?));
    let (id, version, product) = name().ok_or("the manifest has no identifier, version or product that can be told")?;
    let switch = meta.attribute("", "edition") == Some("SWITCH");
    let active = measurements(payload).ok_or("a measurement of the manifest is malformed")?;
    if active.is_empty() {
        return Err("the manifest has no active measurement");
    }
    Ok(Manifest { id, version, product, switch, active })
}

/// One word that can be printed.
fn is_word(text: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The active measurements; no index twice, active or not.
fn measurements(payload: &Element<'_>) -> Option<BTreeMap<u8, Vec<Vec<u8>>>> {
    let (mut seen, mut active) = (BTreeSet::new(), BTreeMap::new());
    for element in payload.elements()? {
        let (index, is_active, values) = measurement(element)?;
        seen.insert(index).then_some(())?;
        if is_active {
            active.insert(index, values);
        }
    }
    payload.attributes.is_empty().then_some(active)
}

/// Index, whether it counts, the values.
fn measurement(element: &Element<'_>) -> Option<(u8, bool, Vec<Vec<u8>>)> {
    let plain = |name| element.attribute("", name);
    let resource = element.is(SWID, "Resource") && element.children.is_empty();
    (resource && plain("type") == Some("Measurement") && plain("name").is_some()).then_some(())?;
    // Index 255 would be 256 in the report, which counts from one.
    let index = number(plain("index")?).filter(|index| *index < u8::MAX)?;
    let active = match plain("active")? {
        "True" => true,
        "False" => false,
        _ => return None,
    };
    let bytes = usize::from(number(plain("size")?)?);
    let alternatives = usize::from(number(plain("alternatives")?)?);
    ((1..=MAX_VALUE_BYTES).contains(&bytes) && (1..=MAX_ALTERNATIVES).contains(&alternatives)).then_some(())?;
    // Nothing beside these: type, name, index, active, size, alternatives.
    (element.attributes.len() == 6 + alternatives).then_some(())?;
    let value = |place| {
        let value = hex::decode(element.attribute(SHA384, &format!("Hash{place}"))?).ok()?;
        (value.len() == bytes).then_some(value)
    };
    Some((index, active, (0..alternatives).map(value).collect::<Option<_>>()?))
}

/// A decimal number in its shortest form.
fn number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number: &u8| number.to_string() == text)
}
