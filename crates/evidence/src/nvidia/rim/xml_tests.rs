//! What is read of XML, and its canonical form. The first three documents are those of W3C Canonical XML 1.1, §3.2 to §3.4,
//! without what the profile refuses: document types, `xmlns=""`, and with names of namespaces that are absolute.

use super::{
    canonical::canonical,
    xml::{Namespaces, Node, read, text},
};

fn canonical_form(document: &str) -> Result<String, &'static str> {
    let text = text(document.as_bytes())?;
    read(&text).map(|root| canonical(&root, &Namespaces::new()))
}

#[test]
fn white_space_in_content_stays() {
    let document = "<doc>\n   <clean>   </clean>\n   <dirty>   A   B   </dirty>\n   <mixed>\n      A\n      \
                    <clean>   </clean>\n      B\n      <dirty>   A   B   </dirty>\n      C\n   </mixed>\n</doc>";
    assert_eq!(canonical_form(document).as_deref(), Ok(document));
    assert_eq!(canonical_form(&format!("<?xml version=\"1.0\"?>\n\n{document}\n \n")).as_deref(), Ok(document));
    assert_eq!(canonical_form(&document.replace('\n', "\r\n")).as_deref(), Ok(document));
    assert_eq!(canonical_form(&document.replace('\n', "\r")).as_deref(), Ok(document));
}

#[test]
fn tags_and_their_attributes_have_one_form() {
    let document = r#"<doc>
   <e1   />
   <e2   ></e2>
   <e3   name = "elem3"   id="elem3"   />
   <e4   name="elem4"   id="elem4"   ></e4>
   <e5 a:attr="out" b:attr="sorted" attr2="all" attr="I'm"
      xmlns:b="http://www.ietf.org"
      xmlns:a="http://www.w3.org"
      xmlns="http://example.org"/>
   <e6 xmlns:a="http://www.w3.org">
      <e7 xmlns="http://www.ietf.org">
         <e8 xmlns:a="http://www.w3.org">
            <e9 xmlns="http://example.org" xmlns:a="http://www.ietf.org" attr='"default"'/>
         </e8>
      </e7>
   </e6>
</doc>"#;
    let expected = r#"<doc>
   <e1></e1>
   <e2></e2>
   <e3 id="elem3" name="elem3"></e3>
   <e4 id="elem4" name="elem4"></e4>
   <e5 xmlns="http://example.org" xmlns:a="http://www.w3.org" xmlns:b="http://www.ietf.org" attr="I'm" attr2="all" b:attr="sorted" a:attr="out"></e5>
   <e6 xmlns:a="http://www.w3.org">
      <e7 xmlns="http://www.ietf.org">
         <e8>
            <e9 xmlns="http://example.org" xmlns:a="http://www.ietf.org" attr="&quot;default&quot;"></e9>
         </e8>
      </e7>
   </e6>
</doc>"#;
    assert_eq!(canonical_form(document).as_deref(), Ok(expected));
    assert_eq!(canonical_form(expected).as_deref(), Ok(expected));
}

#[test]
fn characters_have_one_form() {
    let document = "<doc>
   <text>First line&#x0d;&#10;Second line</text>
   <value>&#x32;</value>
   <compute expr='value>\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"'>&gt; > \" ' &quot;&apos;</compute>
   <norm attr=' &apos;   &#x20;&#13;&#xa;&#9;   &apos; ' spaced='a\tb
c'/>
   <word>caf\u{e9} &#233; \u{1f512}</word>
</doc>";
    let expected = "<doc>
   <text>First line&#xD;
Second line</text>
   <value>2</value>
   <compute expr=\"value>&quot;0&quot; &amp;&amp; value&lt;&quot;10&quot; ?&quot;valid&quot;:&quot;error&quot;\">\
&gt; &gt; \" ' \"'</compute>
   <norm attr=\" '    &#xD;&#xA;&#x9;   ' \" spaced=\"a b c\"></norm>
   <word>caf\u{e9} \u{e9} \u{1f512}</word>
</doc>";
    assert_eq!(canonical_form(document).as_deref(), Ok(expected));
    assert_eq!(canonical_form(expected).as_deref(), Ok(expected));
}

#[test]
fn a_part_of_a_document_brings_the_namespaces_in_scope() {
    let document = r#"<a xmlns="u:0" xmlns:z="u:z" xmlns:y="u:y"><b xmlns="u:1" y:n="1"><c z:n="2" m="3"/></b></a>"#;
    let root = read(document).unwrap();
    let Some(Node::Element(part)) = root.children.first() else { panic!("an element") };
    assert_eq!(
        canonical(part, &root.declared),
        r#"<b xmlns="u:1" xmlns:y="u:y" xmlns:z="u:z" y:n="1"><c m="3" z:n="2"></c></b>"#
    );
}

#[test]
fn names_have_the_namespace_of_their_prefix() {
    let document = r#"<a xmlns="u:0" xmlns:p="u:p"><p:b c="1" p:c="2"/><d xmlns:p="u:q"><p:e/></d></a>"#;
    let root = read(document).unwrap();
    assert!(root.is("u:0", "a") && root.has("u:q") && !root.has("u:z"));
    let elements = root.elements().unwrap();
    assert!(elements[0].is("u:p", "b") && elements[1].is("u:0", "d"));
    assert_eq!(elements[0].attribute("", "c"), Some("1"));
    assert_eq!(elements[0].attribute("u:p", "c"), Some("2"));
    assert_eq!(elements[0].attribute("u:0", "c"), None, "the default namespace is not an attribute's");
    assert!(elements[1].elements().unwrap()[0].is("u:q", "e"));
}

#[test]
fn documents_outside_of_the_profile_are_refused() {
    let deep = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
    let wide = |count: usize| format!("<a{}/>", (0..count).map(|n| format!(" n{n}='x'")).collect::<String>());
    let scoped = |count: usize| format!("<a{}/>", (0..count).map(|n| format!(" xmlns:n{n}='u:x'")).collect::<String>());
    for accepted in [deep(16), wide(96), scoped(16), format!("<a>{}</a>", " ".repeat((256 << 10) - 7))] {
        assert!(canonical_form(&accepted).is_ok(), "{accepted:.40}");
    }
    for refused in [deep(17), wide(97), scoped(17), format!("<a>{}</a>", " ".repeat((256 << 10) - 6))] {
        assert!(canonical_form(&refused).is_err(), "{refused:.40}");
    }
    for document in [
        "",
        "text",
        "<a>",
        "<a/><b/>",
        "<a/>text",
        "<a></b>",
        "<a></p:a>",
        "</a>",
        "<a",
        "<a b/>",
        "<a b=c/>",
        "<a b='c/>",
        "<a b='c'd='e'/>",
        "<a b='1' b='2'/>",
        "<a xmlns:p='u:1' xmlns:q='u:1' p:b='1' q:b='2'/>",
        "<a xmlns='u:1' xmlns='u:1'/>",
        "<a b='<'/>",
        "<a>]]></a>",
        "<1a/>",
        "<-a/>",
        "<\u{e9}/>",
        "<a:b:c xmlns:a='u:1'/>",
        "<:a/>",
        "<a:/>",
        "<p:a/>",
        "<a p:b='c'/>",
        "<a xml:id='b'/>",
        "<a xml:lang='en'/>",
        "<xmlns:a/>",
        "<a xmlns=''/>",
        "<a xmlns:p=''/>",
        "<a xmlns:p='relative'/>",
        "<a xmlns:p='u:'/>",
        "<a xmlns:p='u:&amp;'/>",
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns:xmlns='u:1'/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<a><!-- --></a>",
        "<!-- --><a/>",
        "<a/><!-- -->",
        "<a><?b?></a>",
        "<?b?><a/>",
        "<a/><?b?>",
        "<a><![CDATA[b]]></a>",
        "<a>&b;</a>",
        "<a>&</a>",
        "<a>&amp</a>",
        "<a>&;</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#0;</a>",
        "<a>&#x1f;</a>",
        "<a>&#xd800;</a>",
        "<a>&#xfffe;</a>",
        "<a>&#x110000;</a>",
        "<a>&#00000000065;</a>",
        "<a>&#+65;</a>",
        "<a>&#X41;</a>",
        "<a>\0</a>",
        "<a>\u{1f}</a>",
        "<a>\u{ffff}</a>",
        "\u{feff}<a/>",
        " <?xml version='1.0'?><a/>",
        "<?xml version='1.1'?><a/>",
        "<?xml?><a/>",
        "<?xmlversion='1.0'?><a/>",
        "<?xml encoding='UTF-8'?><a/>",
        "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
        "<?xml version='1.0' version='1.0'?><a/>",
        "<?xml version='1.0\"?><a/>",
        "<?xml version='1.0'?><?xml version='1.0'?><a/>",
    ] {
        assert!(canonical_form(document).is_err(), "{document:?}");
    }
    assert!(text(b"<a>\xff</a>").is_err(), "no UTF-8");
    assert!(canonical_form("<?xml version='1.0' encoding=\"utf-8\" standalone='yes' ?><a/>").is_ok());
}
