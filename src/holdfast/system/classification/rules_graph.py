"""What goes wrong between nodes and inside of them while the graph runs."""

from __future__ import annotations

from holdfast.system.classification.answer import verdict
from holdfast.system.classification.rule import Rule

WIRING = verdict("workflow, high, lasting, fix_request")
NODE_BUG = verdict("workflow, high, lasting, install_node")
NAN = verdict("workflow, medium, lasting, fix_request")
OPTIONAL = verdict("workflow, low, lasting, skip_optional")
INPUT = verdict("workflow, medium, lasting, fix_request")

RULES = (
    Rule("the numbers overflowed", NAN,
         says=("tensor with all nans", "all nans was produced", "nans exception", "@nansexception", "invalid value encountered in cast", "contains nan", "nan or inf",
               "inf nan or element", "probability tensor contains", "nan detected", "black image*", "nan values", "is nan", "cannot convert float nan to integer", "nans",
               "input contains nan", "loss is nan", "got nan", "cannot convert float infinity")),
    Rule("tensors on different devices", NODE_BUG,
         says=("all tensors to be on the same device", "at least two devices", "on different devices", "weight is on cpu", "input is on cuda", "is on cpu but expected",
               "expected device", "indices should be either on cpu", "must be on the same device", "tensor for argument .. is on cpu", "not on the expected device",
               "slow conv2d forward mps", "placeholder storage has not been allocated on mps", "pointer argument cannot be accessed from triton", "passed cpu tensor to mps",
               "is not on the same device", "storage device", "generator for cuda device", "cannot generate a cpu tensor from a generator", "attempted to call .. but .. is on the meta")),
    Rule("tensors of different types", NODE_BUG,
         says=("expected scalar type", "should be the same", "must have the same dtype", "mat1 and mat2 must have the same dtype", "to have the same dtype",
               "dtypes to match", "expected m1 and m2 to have the same dtype", "input type", "expected dtype", "dtype mismatch", "same dtype", "expected query key and value",
               "tensor* .. double", "result type .. cannot be cast", "found dtype", "got unsupported scalar type", "expected tensor for argument", "should have floating point",
               "promotion for float8*", "same data type", "of type .. float .. half", "expected object of scalar type", "expected both to have"),
         also=("dtype*", "type*", "half", "float*", "bfloat16", "bf16", "float8*", "long", "int", "weight", "scalar", "double")),
    Rule("weights were never loaded into the model", NODE_BUG,
         says=("meta tensor", "on the meta device", "meta device", "cannot copy out of meta tensor", "no data")),
    Rule("shapes do not fit between nodes", WIRING,
         says=("mat1 and mat2", "shapes cannot be multiplied", "size of tensor a", "must match the size of tensor", "sizes of tensors must match",
               "to have .. channels but got", "channels but got", "is invalid for input of size", "shape mismatch", "shape* .. mismatch", "expected size for first two dimensions",
               "einsum", "rearrange reduction pattern", "rearrange", "could not broadcast", "could not be broadcast", "operands could not be broadcast", "kernel size can't be greater",
               "kernel size cannot be greater", "expanded size of the tensor", "dimension out of range", "dimensions must match", "dimension mismatch", "tensors must have same number of dimensions",
               "same number of dimensions", "cannot reshape", "reshape", "padding size should be", "input and output sizes should be greater than 0", "output size is too small",
               "calculated output size", "expected 4d", "expected 3d", "expected 2d", "expected 5d", "expected 3d unbatched", "must be matched", "size mismatch", "got .. and .. in dimension",
               "did you try using a controlnet for sdxl on sd1", "y is none", "y must be", "must specify y", "size mismatch got", "incompatible shape*", "invalid shape", "shapes do not match",
               "not match existing size", "permute sparse coo", "not enough values to unpack", "too many values to unpack", "given normalized shape", "batch1 tensor", "batch2 tensor",
               "all the input array dimensions", "all input arrays must have the same shape", "need at least one array", "expects a non empty", "non empty tensorlist", "stack expects",
               "shape must be", "array is too large", "wrong number of channels", "number of channels", "channels", "input channels", "boolean value of tensor", "ambiguous", "number of dimensions",
               "unexpected input data type", "got invalid dimensions for input", "invalid rank for input", "too many indices", "start .. length .. exceeds dimension size", "narrow",
               "index is out of bounds for dimension", "mask shape", "the shape of the mask", "tensor shape", "cannot handle this data type", "linear .. input and weight .. shapes",
               "latent .. channels", "split with sizes", "split_with_sizes", "selected index k out of range", "expected input", "zero size", "zero elements", "number of elements",
               "view size is not compatible", "inconsistent tensor size", "x shape", "input shape", "output shape", "axis .. out of bounds", "must broadcast", "assertion .. shape"),
         unless=("loading state dict", "json", "@jsondecodeerror", "ssl", "#http4xx", "#http5xx")),
    Rule("endless recursion in the graph", WIRING, says=("maximum recursion depth exceeded", "@recursionerror", "maximum call stack")),
    Rule("a preprocessor or a model is wired to the wrong place", WIRING,
         says=("should not have its images go through", "preprocessor", "is not connected", "not connected", "must be connected", "has no input", "expects .. latent", "wrong input",
               "no latent", "controlnet .. not", "requires .. conditioning", "conditioning", "incompatible .. inputs", "does not match the model"),
         unless=("no module named", "positional argument*", "keyword argument", "has no attribute", "#http4xx", "#http5xx", "transport endpoint")),
    Rule("an optional node that compares or shows failed", OPTIONAL,
         says=("%preview", "%xyplot*", "%plot", "%showtext", "%show", "%display", "%debug"),
         also=("@unboundlocalerror", "@nameerror", "@keyerror", "@attributeerror"),
         unless=("%previewimage",)),
    Rule("a node was given nothing", WIRING,
         says=("none type object has no attribute shape", "none type object has no attribute size", "none type object has no attribute to", "none type object has no attribute cpu",
               "none type object has no attribute movedim", "none type object has no attribute clone", "none type object has no attribute encode", "none type object has no attribute tokenize",
               "none type object has no attribute decode", "none type object has no attribute model", "none type object has no attribute lower", "none type object has no attribute copy",
               "none type object is not subscriptable", "none type object is not iterable", "object of type none type has no len", "list index out of range", "@indexerror",
               "unsupported operand type s", "none type object has no attribute numpy", "none type object has no attribute unsqueeze", "none type object has no attribute ndim",
               "none type object has no attribute get", "none type object has no attribute keys", "none type object has no attribute split", "none type object has no attribute dim",
               "division by zero", "@zerodivisionerror", "none type object has no attribute strip"),
         unless=("site packages",)),
    Rule("a node's own code is wrong, or of another version than the server's", NODE_BUG,
         says=("has no attribute", "got an unexpected keyword argument", "missing .. required positional argument*", "missing .. required keyword only argument*", "positional argument*",
               "got multiple values for", "is not callable", "object is not", "referenced before assignment", "not associated with a value", "is not defined", "@unboundlocalerror",
               "@nameerror", "must be str not", "can only concatenate", "unhashable type", "@attributeerror", "@keyerror", "key error", "@typeerror", "indices must be integers",
               "not supported between instances", "abstract class", "abstract method*", "takes no arguments", "object cannot be interpreted", "unexpected type", "no attribute",
               "super init", "object of type", "cannot unpack", "argument must be", "expected str bytes or os path like object", "attribute error", "type error", "name error",
               "keyword argument", "slice indices must be", "cannot pickle", "@assertionerror", "dictionary changed size", "generator object", "coroutine", "object does not support",
               "can't set attribute", "cannot assign", "inplace", "leaf variable", "requires grad", "inference tensors cannot", "inference tensor", "backward"),
         unless=("@from:requests", "@from:httpx", "@from:aiohttp", "@from:redis")),
)
