"""Blender materials, each with two outputs: how it looks, and a data output that shines by itself.

The data output emits the point attribute `DATA` and keeps the transparency of hair, brows and lashes,
so that a render of it shows values of the surface that is really seen.
"""

import bpy
import numpy as np

DATA = "layers"


class Nodes:
    """A material's node tree, built by name."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()

    def add(self, kind: str, inputs: dict | None = None, **properties):
        """Add a node; an input is a value or the output socket of another node."""
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for name, value in properties.items():
            setattr(node, name, value)
        for name, value in (inputs or {}).items():
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[name])
            else:
                node.inputs[name].default_value = value
        return node

    def multiply(self, a, b):
        """Multiply two colours; sockets or values."""
        inputs = {6: _rgba(a), 7: _rgba(b), 0: 1.0}
        return self.add("Mix", inputs, data_type="RGBA", blend_type="MULTIPLY").outputs[2]

    def finish(self, surface, alpha=None):
        """Add both outputs and return the material."""
        self._output("look", surface)
        data = self.add("Attribute", attribute_name=DATA, attribute_type="GEOMETRY").outputs["Color"]
        shining = self.add("Emission", {"Color": data, "Strength": 1.0}).outputs[0]
        if alpha is not None:
            clear = self.add("BsdfTransparent").outputs[0]
            shining = self.add("MixShader", {0: alpha, 1: clear, 2: shining}).outputs[0]
        self._output("data", shining)
        # Else every emitting vertex would become a lamp: twice the time.
        self.material.cycles.emission_sampling = "NONE"
        return self.material

    def _output(self, name: str, surface) -> None:
        node = self.add("OutputMaterial", {"Surface": surface})
        node.name = name


def show(which: str) -> None:
    """Switch all materials to the output ``"look"`` or ``"data"``."""
    for material in bpy.data.materials:
        for name in ("look", "data"):
            node = material.node_tree.nodes[name]
            # Only where it changes something, since Blender compiles anew whatever is touched.
            if node.is_active_output != (name == which):
                node.is_active_output = name == which


def skin(texture: str, wrinkles: bpy.types.Image, *, tint, roughness, pores, number) -> bpy.types.Material:
    """Skin: texture, blotches, pores, scattering; wrinkles (the node "relief") that also darken their grooves."""
    n = Nodes("skin")
    image = n.add("TexImage", image=_image(texture), interpolation="Cubic").outputs[0]
    color = n.multiply(n.add("HueSaturation", {"Saturation": 0.88, "Color": image}).outputs[0], tint)
    place = n.add("TexCoord")
    blotches = {"Vector": place.outputs["Generated"], "Scale": 9.0, "Detail": 5.0, "W": float(number)}
    noise = n.add("TexNoise", blotches, noise_dimensions="4D")
    color = n.multiply(color, n.add("MapRange", {0: noise.outputs[0], 3: 0.93, 4: 1.07}).outputs[0])

    front = n.add("UVMap", uv_map="front").outputs[0]
    lines = n.add("TexImage", {"Vector": front}, image=wrinkles, interpolation="Cubic", extension="EXTEND")
    lines.name, relief = "relief", lines.outputs[0]
    color = n.multiply(color, n.add("MapRange", {0: relief, 1: -1.0, 2: 0.0, 3: 0.62, 4: 1.0}).outputs[0])
    pits = n.add("TexVoronoi", {"Vector": place.outputs["Object"], "Scale": 38.0}).outputs[0]
    grain = n.add("TexNoise", {"Vector": place.outputs["Object"], "Scale": 22.0, "Detail": 6.0}).outputs[0]
    height = n.add("Math", {0: pits, 1: grain}, operation="ADD").outputs[0]
    fine = n.add("Bump", {"Height": height, "Strength": pores, "Distance": 0.006}).outputs[0]
    normal = n.add("Bump", {"Height": relief, "Normal": fine, "Strength": 1.0, "Distance": 0.02}).outputs[0]
    surface = {
        "Base Color": color,
        "Roughness": roughness,
        "Subsurface Weight": 0.12,
        "Subsurface Radius": (1, 0.35, 0.2),
        "Subsurface Scale": 0.04,
        "Specular IOR Level": 0.4,
        "Normal": normal,
    }
    return n.finish(n.add("BsdfPrincipled", surface).outputs[0])


def card(texture: str, *, tint=(1, 1, 1), roughness=0.5, gain=1.0, specular=0.3, glow=0.0) -> bpy.types.Material:
    """A textured sheet with transparency: brows, lashes, teeth, tongue.

    `glow` stands in for the light that enamel scatters in a mouth.
    """
    n = Nodes("card")
    image = n.add("TexImage", image=_image(texture))
    color = n.multiply(image.outputs[0], tint)
    alpha = n.add("Math", {0: image.outputs[1], 1: gain}, operation="MULTIPLY", use_clamp=True).outputs[0]
    surface = {
        "Base Color": color,
        "Alpha": alpha,
        "Roughness": roughness,
        "Specular IOR Level": specular,
        "Emission Color": color,
        "Emission Strength": glow,
    }
    return n.finish(n.add("BsdfPrincipled", surface).outputs[0], alpha)


def hair(texture: str, color: tuple[float, ...]) -> bpy.types.Material:
    """Hair: the texture's light and dark, in a colour of one's own."""
    n = Nodes("hair")
    image = n.add("TexImage", image=_image(texture))
    pixels = np.empty(len(image.image.pixels), np.float32)
    image.image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(-1, 4)
    mean = float((pixels[pixels[:, 3] > 0.5, :3] ** 2.2).mean()) + 1e-3
    light = n.add("RGBToBW", {0: image.outputs[0]}).outputs[0]
    shade = n.add("Math", {0: light, 1: mean}, operation="DIVIDE").outputs[0]
    surface = {
        "Base Color": n.multiply(shade, color),
        "Alpha": image.outputs[1],
        "Roughness": 0.62,
        "Specular IOR Level": 0.22,
    }
    return n.finish(n.add("BsdfPrincipled", surface).outputs[0], image.outputs[1])


def eye(texture: str) -> bpy.types.Material:
    """An eyeball under a clear, shiny cornea."""
    n = Nodes("eye")
    image = n.add("TexImage", image=_image(texture))
    ball = {"Base Color": image.outputs[0], "Roughness": 0.12, "Specular IOR Level": 0.5}
    ball = n.add("BsdfPrincipled", ball).outputs[0]
    clear = n.add("BsdfTransparent").outputs[0]
    shine = n.add("BsdfGlossy", {"Roughness": 0.04}).outputs[0]
    cornea = n.add("MixShader", {0: 0.05, 1: clear, 2: shine}).outputs[0]
    return n.finish(n.add("MixShader", {0: image.outputs[1], 1: cornea, 2: ball}).outputs[0], image.outputs[1])


def plain(color: tuple[float, ...], roughness=0.8) -> bpy.types.Material:
    """One colour; its node ``"surface"`` can be recoloured."""
    n = Nodes("plain")
    node = n.add("BsdfPrincipled", {"Base Color": _rgba(color), "Roughness": roughness})
    node.name = "surface"
    return n.finish(node.outputs[0])


def _image(path: str) -> bpy.types.Image:
    return bpy.data.images.load(str(path), check_existing=True)


def _rgba(color):
    return color if isinstance(color, bpy.types.NodeSocket) else (*color, 1.0)
