# In the examiner's box: runs the tests. Of the student's there is nothing here but values; see
# examiner.py.

local({
  told <- commandArgs(trailingOnly = TRUE)
  sys.source(file.path(told[[1]], "wire.R"), environment())
  seconds <- as.numeric(told[[2]])  # that one test may take
  given <- new.env(parent = globalenv())  # what tests have besides R
  tests <- new.env(parent = given)  # their own names, and the notebook's
  defined <- character()  # names that the teacher's notebook defines
  functions <- character()  # those of functions
  classes <- character()  # of objects that it makes
  bound <- character()  # names of the notebook's in `tests`
  asked <- 0  # how often something may have changed in the notebook
  level <- 0  # of what a test prints itself

  # -- what the teacher's notebook defines, read from its text

  read <- function(cells) {
    expressions <- lapply(cells, function(text) {
      tryCatch(as.list(parse(text = text, keep.source = FALSE)), error = function(e) list())
    })
    do.call(c, expressions)
  }
  head_of <- function(code) if (is.call(code)) as.character(code[[1]])[[1]] else ""
  calls_in <- function(code) Filter(is.call, as.list(code))
  target <- function(code) {
    while (is.call(code)) code <- code[[2]]
    as.character(code)
  }
  targets_in <- function(code) {
    head <- head_of(code)
    if (head == "function") return(character())
    own <- if (head %in% c("<-", "=", "<<-", "for")) target(code[[2]])
    if (head %in% c("assign", "setGeneric") && is.character(code[[2]])) own <- code[[2]]
    c(own, unlist(lapply(calls_in(code), targets_in)))
  }
  classes_in <- function(code) {
    named <- as.list(code)[["class"]]
    if (head_of(code) == "<-" && head_of(code[[2]]) %in% c("class", "oldClass")) named <- code[[3]]
    c(texts(named), unlist(lapply(calls_in(code), classes_in)))
  }
  texts <- function(code) {
    if (is.character(code)) code
    else if (is.call(code)) unlist(lapply(Filter(function(each) is.call(each) || is.character(each), as.list(code)), texts))
  }
  attaches <- function(code) {
    head <- head_of(code)
    head %in% c("library", "require") ||
      (startsWith(head, "suppress") && any(vapply(calls_in(code), attaches, NA)))
  }
  is_function <- function(code) {
    head_of(code) %in% c("<-", "=") && is.symbol(code[[2]]) && head_of(code[[3]]) == "function"
  }
  # What has methods of R's own is no class of a notebook's.
  is_free <- function(class) {
    tables <- lapply(loadedNamespaces(), function(name) asNamespace(name)[[".__S3MethodsTable__."]])
    known <- c(unlist(lapply(tables, ls)), ls(baseenv(), all.names = TRUE))
    !any(endsWith(known, paste0(".", class)))
  }

  begin <- function(cells, locked) {
    free <- read(cells)
    fixed <- read(locked)
    defined <<- unlist(lapply(free, targets_in))
    for (each in Filter(attaches, c(free, fixed))) {
      tryCatch(suppressWarnings(eval(each, globalenv())), error = function(e) NULL)
    }
    for (each in Filter(is_function, fixed)) if (!(target(each) %in% defined)) {
      eval(each, tests)
      fixed <- setdiff(fixed, list(each))
    }
    functions <<- unlist(lapply(Filter(is_function, c(free, fixed)), function(each) target(each)))
    defined <<- unique(c(defined, unlist(lapply(fixed, targets_in))))
    classes <<- Filter(is_free, unique(unlist(lapply(c(free, fixed), classes_in))))
  }

  # -- what is the notebook's, as a test sees it

  # A function is called where it is.
  theirs <- new.env()
  theirs$call <- function(number, arguments) {
    ask("call", structure(list(number), class = "number"), arguments)
  }
  # All other objects stay there, too. What one says of itself is the student's word, so it is never
  # compared; nor has it a class of the student's here, for which R might have a method.
  OBJECT <- "notebook_object"
  about <- function(x, what) get(what, envir = if (is.function(x)) environment(x) else x)
  is_object <- function(x) {
    typeof(x) %in% c("environment", "closure") && identical(oldClass(x), OBJECT)
  }
  find <- function(node) {
    number <- node[["number"]]
    if (!is.numeric(number)) stop("the notebook gives what is no value", call. = FALSE)
    if (node[["kind"]] == "yours") return(object_of(node))
    is_function <- isTRUE(node[["type"]] %in% c("closure", "builtin", "special"))
    scope <- new.env(parent = if (is_function) theirs else emptyenv())
    scope$number <- number
    scope$type <- as.character(node[["type"]])
    scope$class <- as.character(unlist(node[["class"]]))
    x <- if (is_function) eval(quote(function(...) call(number, list(...))), scope) else scope
    if (!is_function || !identical(scope$class, "function")) class(x) <- OBJECT
    x
  }
  number_of <- function(x) {
    if (identical(oldClass(x), "number")) return(unclass(x)[[1]])
    if (typeof(x) == "closure" && identical(parent.env(environment(x)), theirs)) {
      return(environment(x)$number)
    }
    if (is_object(x)) about(x, "number")
  }
  is_copied <- function(class) {
    while (length(class) && class[[1]] %in% classes) class <- class[-1]
    !length(class) || list(class) %in% PLAIN
  }
  out <- function(x) encode(x, number_of, function(class) TRUE)
  into <- function(node) decode(node, find, is_copied)

  ask <- function(verb, ...) {
    if (verb != "get") asked <<- asked + 1
    send(list(ask = verb, with = lapply(list(...), out), capture = sink.number() > level))
    repeat {
      message <- receive()
      if (length(message[["gone"]])) {  # of which no test makes an answer
        invokeRestart("gone", paste("the notebook's program has ended:", message[["gone"]]))
      }
      if (is.null(message[["ask"]])) break
      answer(message)
    }
    if (is.character(message[["printed"]])) cat(message[["printed"]])
    for (each in message[["said"]]) {
      text <- as.character(each[[2]])
      if (identical(each[[1]], "Warning")) warning(text, call. = FALSE)
      else message(text, appendLF = FALSE)
    }
    raised <- message[["raise"]]
    if (!length(raised)) {
      value <- into(message[["value"]])
      return(if (isFALSE(message[["visible"]])) invisible(value) else value)
    }
    text <- as.character(raised[["message"]])
    if (isTRUE(raised[["late"]])) invokeRestart("gone", text)
    own <- intersect(as.character(unlist(raised[["class"]])), classes)
    class <- c(own, "simpleError", "error", "condition")
    stop(structure(class = class, list(message = text, call = NULL)))
  }

  # All that a notebook may ask: to call a function that a test handed to it.
  answer <- function(message) {
    send(tryCatch({
      f <- object_of(message[["with"]][[1]])
      if (!is.function(f)) stop("a function of the test can only be called")
      list(value = out(do.call(f, into(message[["with"]][[2]]), quote = TRUE)))
    }, error = function(e) list(raise = list(message = as_utf8(conditionMessage(e))))))
  }

  refuse <- function(x, ...) {
    stop("the notebook gives an object of ", about(x, "class")[[1]], " (", about(x, "type"),
         "), which cannot be copied: a test compares plain values, as of as.numeric(),",
         " as.character(), coef(), $name", call. = FALSE)
  }
  method <- function(generic, f) registerS3method(generic, OBJECT, f, envir = globalenv())
  refuse_two <- function(e1, e2) refuse(if (is_object(e1)) e1 else e2)
  for (each in c("Math", "Summary", "[", "[<-", "all.equal", "unlist", "rep", "c", "xtfrm")) {
    method(each, refuse)
  }
  method("Ops", refuse_two)
  method("$", function(x, name) ask("element", x, name))
  method("[[", function(x, i) ask("own", "[[", list(x, i)))
  put <- function(x, name, value) ask("put", x, name, value)
  method("$<-", put)
  method("[[<-", put)
  # R's own functions for it, which have the methods that the notebook has.
  local(for (each in c(
    "as.character", "as.double", "as.integer", "as.logical", "as.numeric", "as.vector", "as.list",
    "as.data.frame", "as.matrix", "as.Date", "as.POSIXct", "length", "names", "dim", "levels",
    "format", "toString", "print", "summary", "coef", "residuals", "fitted", "predict",
    "deviance", "logLik", "AIC", "BIC", "vcov", "confint", "nobs", "anova", "formula",
    "df.residual", "mean", "median", "quantile", "sort", "unique", "rev", "head", "tail", "t"
  )) local({
    name <- each
    method(name, function(x, ...) ask("own", name, list(x, ...)))
  }))

  # -- the names that a test sees: its own, R's, then the notebook's

  binding <- function(name) {
    force(name)
    own <- FALSE
    at <- -1
    value <- NULL
    function(new) {
      if (!missing(new)) {
        # Its own from now on: the notebook's functions find it, if it is nothing that cannot be
        # handed over, but do not say what it is.
        own <<- TRUE
        value <<- new
        if (name %in% defined) tryCatch(ask("set", name, new), error = function(e) NULL)
      } else if (!own && at != asked) {
        value <<- ask("get", name)
        at <<- asked
        # A text would be taken for the name of a function, which may be a test's.
        if (name %in% functions && !is.function(value)) stop(name, " is no function", call. = FALSE)
      }
      value
    }
  }
  bind <- function(code) {
    parts <- utils::getParseData(code)
    kinds <- c("SYMBOL", "SYMBOL_FUNCTION_CALL", "SPECIAL", "STR_CONST")
    texts <- gsub("^[\"'`]|[\"'`]$", "", parts$text[parts$token %in% kinds])
    texts <- unique(c(texts, paste0(texts, "<-")))
    there <- ask("names", classes)
    if (!is.character(there)) stop("the notebook gives what is no value", call. = FALSE)
    asked_for <- Filter(function(name) nzchar(name) && !exists(name, envir = given), texts)
    wanted <- intersect(there, c(defined, asked_for))
    rm(list = setdiff(bound, wanted), envir = tests)
    for (name in wanted) if (!exists(name, envir = tests, inherits = FALSE)) {
      makeActiveBinding(name, binding(name), tests)
      bound <<- c(bound, name)
    }
    bound <<- intersect(bound, wanted)
  }

  # Of nothing they are true or false whatever a student answers: NULL == 4 is nothing.
  not_empty <- function(what, values) {
    if (length(values) && !any(lengths(values))) {
      stop(what, "() of nothing says nothing: a test may ask for length()", call. = FALSE)
    }
  }
  given$all <- function(..., na.rm = FALSE) {
    not_empty("all", list(...))
    all(..., na.rm = na.rm)
  }
  given$any <- function(..., na.rm = FALSE) {
    not_empty("any", list(...))
    any(..., na.rm = na.rm)
  }
  given$stopifnot <- function(..., exprs) {
    holds <- function(value, code, name) {
      if (is.logical(value) && length(value) && !anyNA(value) && all(value)) return()
      said <- paste(deparse(code, 60), collapse = "\n")
      said <- paste0(said, if (length(value) > 1) " are not all TRUE" else " is not TRUE")
      if (is.character(value)) said <- paste0(c(said, value), collapse = "\n  ")
      if (!length(value)) said <- paste0(said, ": it is empty")
      stop(if (nzchar(name)) name else said, call. = FALSE)
    }
    codes <- as.list(substitute(list(...)))[-1]
    names <- if (is.null(names(codes))) character(length(codes)) else names(codes)
    for (each in seq_along(codes)) holds(...elt(each), codes[[each]], names[[each]])
    if (!missing(exprs)) {
      frame <- parent.frame()
      for (code in as.list(substitute(exprs))[-1]) holds(eval(code, frame), code, "")
    }
  }
  given$set.seed <- function(...) {  # chance is of both sides
    set.seed(...)
    ask("own", "set.seed", list(...))
    invisible()
  }
  given$class <- function(x) if (is_object(x)) about(x, "class") else class(x)
  given$inherits <- function(x, what, which = FALSE) {
    if (is_object(x)) ask("inherits", x, what) else inherits(x, what, which)
  }
  given$is <- function(object, class2) {
    if (is_object(object)) ask("own", "is", list(object, class2)) else methods::is(object, class2)
  }
  given$`@` <- function(object, name) {
    name <- as.character(substitute(name))
    if (is_object(object)) ask("slot", object, name) else methods::slot(object, name)
  }

  # -- a test

  run <- function(text) {
    outputs <- list()
    complained <- character()
    fail <- function(e) {
      text <- as_utf8(substr(paste0(e, collapse = ""), 1, KEPT))
      outputs <<- list(list(output_type = "error", ename = "ERROR", evalue = text,
                            traceback = list(text)))
    }
    note <- function(restart) function(condition) {
      complained <<- c(complained, as_utf8(conditionMessage(condition)))
      invokeRestart(restart)
    }
    said <- capture({
      level <<- sink.number()
      withRestarts(
        withCallingHandlers(
          tryCatch(at_most(execute(text)), error = fail),
          warning = note("muffleWarning"), message = note("muffleMessage")
        ),
        gone = function(why) fail(simpleError(why, NULL))
      )
    })
    stream <- function(name, text) if (nzchar(text)) {
      list(list(output_type = "stream", name = name, text = text))
    }
    complained <- substr(paste(complained, collapse = "\n"), 1, KEPT)
    c(stream("stdout", said), stream("stderr", complained), outputs)
  }
  execute <- function(text) {
    code <- parse(text = text, keep.source = TRUE)
    bind(code)
    for (each in as.list(code)) {
      shown <- withVisible(eval(each, tests))
      if (shown$visible) print(shown$value)
    }
  }

  message <- receive()
  key <- message[["key"]]
  source <- message[["source"]]
  begin(as.character(unlist(source[["cells"]])), as.character(unlist(source[["locked"]])))
  send(list(done = list()))
  repeat {
    # An answer that comes after its test is the student's word, and does not know the key.
    order <- tryCatch(receive(), error = function(e) list())
    if (identical(order[["key"]], key)) send(list(done = run(order[["run"]])))
  }
}, new.env(parent = baseenv()))
