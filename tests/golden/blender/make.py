"""Renders the scene of this folder: `python make.py FOLDER`, with Blender's bpy installed (4.x or 5.x).

Three cubes: a red one on +x, a green one on +y, a blue one on +z; four cameras; Cycles, emission only, on nothing.
transforms.json is written as Blender's NeRF scripts do: camera_angle_x and object.matrix_world.
"""

import json
import sys
from pathlib import Path

import bpy
from mathutils import Vector

CUBES = {"red": (0.7, 0.0, 0.0), "green": (0.0, 0.5, 0.0), "blue": (0.0, 0.0, 0.8)}
COLOURS = {"red": (1, 0, 0, 1), "green": (0, 1, 0, 1), "blue": (0, 0, 1, 1)}
EYES = [(3.5, 1.0, 1.5), (1.0, 4.0, 0.8), (-2.5, 2.5, 2.0), (2.0, -3.0, -1.2)]

bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
for name, place in CUBES.items():
    bpy.ops.mesh.primitive_cube_add(size=0.4, location=place)
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    emission, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    emission.inputs["Color"].default_value = COLOURS[name]
    material.node_tree.links.new(emission.outputs[0], output.inputs["Surface"])
    bpy.context.object.data.materials.append(material)
bpy.ops.object.camera_add()
camera = bpy.context.object
camera.data.angle_x = 0.9
scene.camera, scene.render.engine = camera, "CYCLES"
scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 16, False
scene.render.resolution_x = scene.render.resolution_y = 64
scene.render.film_transparent = True
scene.view_settings.view_transform = "Standard"
scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
folder, frames = Path(sys.argv[1]).resolve(), []
for number, eye in enumerate(EYES):
    camera.location = eye
    camera.rotation_euler = (Vector((0.2, 0.2, 0.2)) - camera.location).to_track_quat("-Z", "Y").to_euler()
    bpy.context.view_layer.update()
    scene.render.filepath = str(folder / f"r_{number}.png")
    bpy.ops.render.render(write_still=True)
    frames.append({"file_path": f"./r_{number}", "transform_matrix": [list(row) for row in camera.matrix_world]})
document = {"camera_angle_x": camera.data.angle_x, "frames": frames}
(folder / "transforms.json").write_text(json.dumps(document, indent=1) + "\n")
