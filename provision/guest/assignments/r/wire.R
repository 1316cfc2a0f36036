# One end of the line between the process that runs a notebook's cells and the one that runs its
# tests, and the values that cross it: what is plain is copied, all else has a number. As in
# peer.py and values.py, but for how a value is written.
#
# A message is a line of JSON. A value is null, or an object: its `kind`, its `data` as text, and its
# attributes. Nothing here evaluates what the other side sent.

LONGEST <- 16 * 2^20  # bytes of a message
LARGEST <- 1e6  # elements of a value
DEEPEST <- 50
KEPT <- 100000  # characters of what is printed

# Classes that are data, and nothing else, to R's own methods. An object of any other is copied only
# if the teacher's notebook makes it.
PLAIN <- list(
  "factor", c("ordered", "factor"), "data.frame", "Date", c("POSIXct", "POSIXt"), "difftime",
  "table", "noquote"
)

UNITS <- list("secs", "mins", "hours", "days", "weeks")

# Descriptors 3 and 4, which R cannot open by itself: its own output is everybody's.
reading <- pipe("exec cat <&3", "rb")
writing <- pipe("exec cat >&4", "wb")

send <- function(message) {
  line <- jsonlite::toJSON(message, auto_unbox = TRUE, null = "null", na = "null")
  if (nchar(line, "bytes") >= LONGEST) stop("a value is too large to be compared", call. = FALSE)
  writeLines(line, writing)
  flush(writing)
}

receive <- function() {
  line <- readLines(reading, 1, warn = FALSE)
  if (!length(line)) quit(status = 0)
  Encoding(line) <- "UTF-8"
  message <- jsonlite::parse_json(line)
  if (!is.list(message)) stop("no message", call. = FALSE)
  message
}

as_utf8 <- function(text) iconv(enc2utf8(as.character(text)), "UTF-8", "UTF-8", sub = "byte")

# Objects of this side that the other has a number for.
handles <- new.env()

hand_over <- function(object) {
  number <- length(handles) + 1L
  assign(as.character(number), object, envir = handles)
  list(kind = "mine", number = number)
}

object_of <- function(node) {
  number <- node[["number"]]
  if (!is.numeric(number)) stop("there is no such object", call. = FALSE)
  get(as.character(number), envir = handles, inherits = FALSE)
}

numbers <- function(values) paste(sprintf("%a", values), collapse = " ")

data_of <- function(x) {
  bare <- as.vector(unclass(x))
  switch(typeof(x),
    logical = , integer = paste(as.integer(bare), collapse = " "),
    double = numbers(bare),
    complex = paste(numbers(Re(bare)), numbers(Im(bare)), sep = "|"),
    raw = paste(as.character(bare), collapse = " "),
    character = as.list(as_utf8(bare))
  )
}

# A value as JSON's types.
#   number_of: of what stands for an object of the other side its number; NULL: it is none.
#   is_copied: whether an object of some class is copied.
encode <- function(x, number_of, is_copied, depth = 0L) {
  if (is.null(x)) return(NULL)
  if (!is.null(number <- number_of(x))) return(list(kind = "yours", number = number))
  kind <- typeof(x)
  atomic <- kind %in% c("logical", "integer", "double", "complex", "character", "raw")
  plain <- (atomic || kind == "list") && !isS4(x)
  if (!plain || !(is.null(oldClass(x)) || is_copied(oldClass(x)))) {
    about <- list(type = kind, class = as.list(as_utf8(class(x))))
    if (is.language(x)) about$text <- paste(deparse(x), collapse = "\n")
    return(c(hand_over(x), about))
  }
  if (length(x) > LARGEST) stop("a value is too large to be compared", call. = FALSE)
  if (depth > DEEPEST) stop("a value is too deep", call. = FALSE)
  one <- function(each) encode(each, number_of, is_copied, depth + 1L)
  data <- if (atomic) data_of(x) else lapply(unname(unclass(x)), one)
  about <- attributes(x)
  if (!length(about)) return(list(kind = kind, data = data))
  list(kind = kind, data = data, names = as.list(as_utf8(names(about))),
       values = unname(lapply(about, one)))
}

words <- function(text) strsplit(text, " ", fixed = TRUE)[[1]]

# A value from JSON's types, or an error: it is nothing that `encode` makes.
#   find: what stands for one that was not copied.
#   is_copied: whether an object of some class may be made here.
decode <- function(node, find, is_copied, depth = 0L) {
  if (is.null(node)) return(NULL)
  refuse <- function() stop("the notebook gives what is no value", call. = FALSE)
  if (!is.list(node) || depth > DEEPEST) refuse()
  kind <- node[["kind"]]
  data <- node[["data"]]
  if (!is.character(kind) || length(kind) != 1) refuse()
  if (kind %in% c("mine", "yours")) return(find(node))
  if (kind %in% c("list", "character")) {
    if (!is.list(data)) refuse()
  } else if (!is.character(data) || length(data) != 1) refuse()
  x <- suppressWarnings(switch(kind,
    list = lapply(data, decode, find, is_copied, depth + 1L),
    character = vapply(data, function(each) if (is.null(each)) NA_character_ else each, ""),
    logical = as.logical(as.integer(words(data))),
    integer = as.integer(words(data)),
    double = as.numeric(words(data)),
    complex = {
      parts <- lapply(strsplit(data, "|", fixed = TRUE)[[1]], words)
      if (length(parts)) complex(real = as.numeric(parts[[1]]), imaginary = as.numeric(parts[[2]]))
      else complex(0)
    },
    raw = as.raw(strtoi(words(data), 16L)),
    refuse()
  ))
  names <- as.character(unlist(node[["names"]]))
  values <- lapply(node[["values"]], decode, function(...) refuse(), is_copied, depth + 1L)
  if (length(names) != length(values)) refuse()
  for (each in order(names == "names", decreasing = TRUE)) {
    if (names[[each]] != "class") attr(x, names[[each]]) <- values[[each]]
  }
  if (!is.null(class <- values[match("class", names)][[1]])) {
    if (!is.character(class) || !is_copied(class) || !is_sound(x, class)) refuse()
    oldClass(x) <- class
  }
  x
}

# Whether what is to be of one of R's own classes has its parts.
is_sound <- function(x, class) {
  is_text <- function(what) is.character(attr(x, what))
  switch(class[[length(class)]],
    factor = is.integer(x) && is_text("levels") && !anyDuplicated(attr(x, "levels")) &&
      all(is.na(x) | (x >= 1L & x <= length(attr(x, "levels")))),
    # A function in it would be taken for R's own by what evaluates within it.
    data.frame = is.list(x) && (is_text("names") || !length(x)) && !any(vapply(x, is.function, NA)) &&
      all(lengths(x) == length(attr(x, "row.names"))),
    Date = , POSIXt = is.numeric(x),
    difftime = is.numeric(x) && list(attr(x, "units")) %in% UNITS,
    table = !is.null(dim(x)),
    noquote = is.character(x),
    TRUE
  )
}

# No longer than `seconds`, which each side has from whoever began it.
at_most <- function(expression) {
  setTimeLimit(elapsed = seconds)
  on.exit(setTimeLimit())
  expression
}

# What is printed while something is done, up to a length.
capture <- function(expression) {
  into <- rawConnection(raw(0), "w")
  before <- sink.number()
  sink(into)
  ended <- FALSE
  end <- function() {
    if (ended) return("")
    ended <<- TRUE
    while (sink.number() > before) sink()
    said <- rawConnectionValue(into)
    close(into)
    said <- as_utf8(rawToChar(said[said != 0]))
    if (nchar(said) > KEPT) paste0(substr(said, 1, KEPT), "\n\u2026 and more than is kept\n") else said
  }
  on.exit(end())
  force(expression)
  end()
}
