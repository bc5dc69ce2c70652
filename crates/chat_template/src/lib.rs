//! Chat templates of model files, rendered as Hugging Face's jinja2 renders them.
