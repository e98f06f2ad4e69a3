//! Which part of the world a client is in, as far as it matters for where its Hub is.

/// Where nothing is known of a client.
const UNKNOWN: &str = "weur";
/// West of it (in degrees, between Denver and Chicago) North America is `wnam`.
const NORTH_AMERICA: f64 = -100.0;
/// East of it (in degrees, between Vienna and Budapest) Europe is `eeur`.
const EUROPE: f64 = 17.0;
/// West of it (in degrees, between Dubai and Karachi) Asia is `me`.
const ASIA: f64 = 60.0;

/// Every region: the runtime's location hints.
pub const REGIONS: [&str; 9] = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"];

/// One of the runtime's location hints; also a part of a Hub's name. Continent and longitude (in degrees, as text) as the runtime says them.
#[must_use]
pub fn region(continent: Option<&str>, longitude: Option<&str>) -> &'static str {
    let longitude = longitude.and_then(|text| text.parse::<f64>().ok());
    let west_of = |line: f64| longitude.map(|longitude| longitude < line);
    match continent {
        Some("NA") if west_of(NORTH_AMERICA) == Some(true) => "wnam",
        Some("NA") => "enam",
        Some("SA") => "sam",
        Some("EU") if west_of(EUROPE) == Some(false) => "eeur",
        Some("AS") if west_of(ASIA) == Some(true) => "me",
        Some("AS") => "apac",
        Some("OC") => "oc",
        Some("AF") => "afr",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::{REGIONS, region};

    #[test]
    fn a_client_is_in_one_of_nine_regions() {
        for (continent, longitude, expected) in [
            (Some("NA"), Some("-122.4"), "wnam"),
            (Some("NA"), Some("-74.0"), "enam"),
            (Some("NA"), None, "enam"),
            (Some("SA"), Some("-46.6"), "sam"),
            (Some("EU"), Some("13.4"), "weur"),
            (Some("EU"), Some("21.0"), "eeur"),
            (Some("EU"), Some("?"), "weur"),
            (Some("AS"), Some("55.3"), "me"),
            (Some("AS"), Some("139.7"), "apac"),
            (Some("AS"), None, "apac"),
            (Some("OC"), Some("151.2"), "oc"),
            (Some("AF"), Some("28.0"), "afr"),
            (Some("AN"), Some("0"), "weur"),
            (Some("??"), None, "weur"),
            (None, Some("NaN"), "weur"),
        ] {
            assert!(REGIONS.contains(&expected));
            assert_eq!(region(continent, longitude), expected, "{continent:?} {longitude:?}");
        }
        assert_eq!(region(Some("EU"), Some("NaN")), "eeur");
    }
}
